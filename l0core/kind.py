"""What every kind of job declares of itself, and what its results can do. Torch-free: `run` is named, loaded late."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from pydantic import BaseModel

from l0core.arrays import FloatArray
from l0core.context import RunContext, Stopped
from l0core.errors import CheckpointIncompatible
from l0core.findings import Finding

if TYPE_CHECKING:
    from rich.console import RenderableType


class Problem(Protocol):
    """A validated, content-addressed problem of some kind."""

    @property
    def sha256(self) -> str:
        """The content address."""
        ...

    @property
    def sizes(self) -> dict[str, int]:
        """What is shown beside its id."""
        ...

    @property
    def findings(self) -> list[Finding]:
        """What is wrong or doubtful with it."""
        ...

    def save(self, path: Path) -> None:
        """Write it to one file."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        ...


class WeightedProblem(Problem, Protocol):
    """A problem of a kind whose result is a weighting."""

    @property
    def names(self) -> Sequence[str]:
        """The names of its totals."""
        ...

    @property
    def n_units(self) -> int:
        """How many units there are to weight."""
        ...

    def estimates(self, weights: FloatArray) -> FloatArray:
        """Give its totals under weights of all units."""
        ...


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One file of a result."""

    path: Path
    content_type: str

    @property
    def name(self) -> str:
        """Its public name."""
        return self.path.name


class Result(Protocol):
    """What a run that was not stopped gives."""

    @property
    def summary(self) -> dict[str, Any]:
        """The result in numbers."""
        ...

    def target_rows(self) -> Iterator[dict[str, Any]]:
        """One row a target; none where the kind has no targets."""
        ...

    def write(self, folder: Path) -> list[Artifact]:
        """Write every artifact into `folder`."""
        ...


class Run(Protocol):
    """A kind's engine."""

    def __call__(self, problem: Any, hyperparameters: Any, context: RunContext) -> Result | Stopped:
        """Run to the end, or to where the context says stop."""
        ...


class Partial(Protocol):
    """What a checkpoint is worth."""

    def __call__(self, checkpoint: Path) -> FloatArray:
        """Give the weights of all units, in float64; CheckpointIncompatible where it holds none."""
        ...


class StoredTargets(Protocol):
    """A page of the targets of a stored problem."""

    def __call__(self, path: Path, start: int, stop: int) -> list[dict[str, Any]]:
        """Give the targets from `start` to the one before `stop`, fewer at the end."""
        ...


class ProblemType(Protocol):
    """The class of a kind's problems, as the service uses it."""

    def build(self, **inputs: object) -> Problem:
        """Validate the inputs and give the problem."""
        ...

    def load(self, path: Path) -> Problem:
        """Read a saved problem."""
        ...


class ShowsSummary(Protocol):
    """A summary as a person reads it."""

    def __call__(self, summary: Mapping[str, Any]) -> "RenderableType":
        """Give what `rich` shows."""
        ...


class Answer(Protocol):
    """What a result says about new data."""

    def __call__(self, asked: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
        """Answer with JSON: `asked` are the fields of the question, arrays read; `files` the artifacts by name."""
        ...


@dataclass(frozen=True, kw_only=True)
class Question:
    """How results of a kind are asked about new data, by `POST /v1/jobs/{id}/predictions`.

    `inputs` is the body, whose arrays may come as uploads; `artifacts` are the files of the result that are read, and
    `answer` is "module:name", torch-free: it runs in the process that parses what a client sends.
    """

    inputs: type[BaseModel]
    artifacts: tuple[str, ...]
    answer: str

    def answerer(self) -> Answer:
        """Import what answers."""
        return cast("Answer", _load(self.answer))


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a result, kept in the artifact `artifact`: an .npy of one axis with named fields, no objects in it.

    `columns` gives each field its name in JSON, where a column is a list beside `count`.
    """

    artifact: str
    columns: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A small problem as a client sends it, how a job on it may be asked for, and a question to its result: all JSON.

    Documents show it and tests send it: a job of it ends well within seconds.
    """

    summary: str
    problem: Mapping[str, Any]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    question: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of job. `problem` and `run` are "module:name", imported when first asked for.

    `weights` is the artifact that holds one number a unit, for kinds whose result is a weighting; `partial` then names
    what reads such numbers out of a checkpoint, without torch. `targets` names what reads a page of a stored problem's
    targets, for kinds that have some. `question` says how a result answers about new data where that is not by
    weights. `tables` are the tables of a result by the last part of their URL, `/v1/jobs/{id}/{name}`. `summary_table`
    names what shows a summary to a person, where a line a number will not do. `example` is what documents show of it.
    Raise `version` with the first release whose hyperparameters or problem files an engine of the release before would
    refuse or misread: workers that know a lower version then leave such jobs alone.
    """

    name: str
    summary: str
    hyperparameters: type[BaseModel]
    inputs: type[BaseModel]
    problem: str
    run: str
    curves: tuple[str, ...]
    artifacts: Mapping[str, str]
    weights: str | None = None
    partial: str | None = None
    targets: str | None = None
    question: Question | None = None
    tables: Mapping[str, Table] = field(default_factory=dict)
    summary_table: str | None = None
    example: Example | None = None
    version: int = 1

    def problem_type(self) -> ProblemType:
        """Import the class of its problems."""
        return cast("ProblemType", _load(self.problem))

    def engine(self) -> Run:
        """Import its engine (torch begins here)."""
        return cast("Run", _load(self.run))

    def shows_summary(self) -> ShowsSummary | None:
        """Import what shows a summary to a person; None where a line a number does."""
        return None if self.summary_table is None else cast("ShowsSummary", _load(self.summary_table))

    def weights_in(self, checkpoint: Path) -> FloatArray:
        """Give the weights of all units in a checkpoint of a run; CheckpointIncompatible where there are none."""
        if self.partial is None:
            raise CheckpointIncompatible(f"a checkpoint of a {self.name} run holds no weights")
        return cast("Partial", _load(self.partial))(checkpoint)

    def stored_targets(self, problem: Path, start: int, stop: int) -> list[dict[str, Any]] | None:
        """Give a page of a stored problem's targets; None where the kind has none."""
        return None if self.targets is None else cast("StoredTargets", _load(self.targets))(problem, start, stop)


def versions_of(kinds: Mapping[str, Kind]) -> dict[str, int]:
    """Give the version of each kind."""
    return {name: kind.version for name, kind in kinds.items()}


def _load(reference: str) -> object:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
