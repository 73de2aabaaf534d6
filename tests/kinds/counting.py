"""A kind of tests' own, "counting": it picks the largest of some numbers, slowly if it is told to, and knows shelves.

It is small, has no torch, and has everything a kind may have: a table, a question, a summary of its own, checkpoints.
In this process `known_here` puts it on the list of kinds; processes that are started with `VARIABLES` know it too.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from rich.console import RenderableType

from l0core.arrays import Axis, FloatArray, vector
from l0core.context import EpochReport, RunContext, Stopped
from l0core.errors import CheckpointIncompatible, InvalidHyperparameter, InvalidInput
from l0core.findings import Finding
from l0core.inputs import VectorInput
from l0core.kind import Artifact, Example, Kind, Question, Table
from l0core.kinds import KINDS
from l0core.screen import pairs

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
_PATHS = (Path(__file__).parent / "counting_known", Path(__file__).parents[2])
VARIABLES = {"PYTHONPATH": os.pathsep.join(map(str, _PATHS))}
PICKED = np.dtype([("index", "<i8"), ("number", "<f8"), ("shelf", "<U6")])


class HighShelf(BaseModel):
    """A shelf that is out of reach."""

    model_config = _STRICT
    form: Literal["high"]
    ladder: bool


class LowShelf(BaseModel):
    """A shelf within reach."""

    model_config = _STRICT
    form: Literal["low"]


def _form(value: object) -> str | None:
    form = value.get("form") if isinstance(value, Mapping) else getattr(value, "form", None)
    return f"~{form}" if form in ("high", "low") else None


Shelf = Annotated[Annotated[HighShelf, Tag("~high")] | Annotated[LowShelf, Tag("~low")], Discriminator(_form)]


class CountingInputs(BaseModel):
    """Numbers, and shelves to put them on."""

    model_config = _STRICT
    numbers: Annotated[VectorInput, Field(description="Some numbers.")]
    shelves: Annotated[list[Shelf], Field(description="Where they go, in turn.")]
    label: Annotated[str | None, Field(max_length=20, description="A word.")] = None


class CountingHyperparameters(BaseModel):
    """How many are picked."""

    model_config = _STRICT
    count: Annotated[int, Field(ge=1, description="How many are picked.")]
    epochs: Annotated[int, Field(ge=1, description="Passes over the numbers.")] = 10


class CountingQuestion(BaseModel):
    """More numbers."""

    model_config = _STRICT
    numbers: Annotated[VectorInput, Field(description="Some more numbers.")]


@dataclass(frozen=True, kw_only=True)
class CountingProblem:
    """Checked numbers."""

    numbers: FloatArray
    shelves: list[str]

    @classmethod
    def build(cls, numbers: Any, shelves: list[dict[str, Any]], label: str | None = None) -> Self:
        """Check them; a label is not looked at."""
        checked = vector(numbers, name="numbers", axis=Axis(length=np.size(numbers), noun="numbers"))
        if len(shelves) == 0:
            raise InvalidInput("there are no shelves; give one at least", pointer="/shelves")
        return cls(numbers=checked, shelves=[shelf["form"] for shelf in shelves])

    @property
    def sha256(self) -> str:
        """The content address."""
        return hashlib.sha256(b"counting" + self.numbers.tobytes() + json.dumps(self.shelves).encode()).hexdigest()

    @property
    def sizes(self) -> dict[str, int]:
        """How many numbers and shelves."""
        return {"n_numbers": self.numbers.size, "n_shelves": len(self.shelves)}

    @property
    def findings(self) -> list[Finding]:
        """Nothing is doubtful."""
        return []

    def save(self, path: Path) -> None:
        """Write it."""
        path.write_text(json.dumps({"numbers": self.numbers.tolist(), "shelves": self.shelves}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it."""
        held = json.loads(path.read_text())
        return cls(numbers=np.array(held["numbers"]), shelves=held["shelves"])


@dataclass(frozen=True, kw_only=True)
class CountingResult:
    """What was picked."""

    picked: np.ndarray[Any, np.dtype[np.void]]
    drawn: float

    @property
    def summary(self) -> dict[str, Any]:
        """How many, and what was drawn on the way."""
        return {"n_picked": self.picked.size, "drawn": self.drawn, "shelves": {"high": 1}}

    def target_rows(self) -> Iterator[dict[str, Any]]:
        """Give none."""
        yield from ()

    def write(self, folder: Path) -> list[Artifact]:
        """Write the table, and what an answer needs."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "picked.npy", self.picked, allow_pickle=False)
        (folder / "drawn.json").write_text(json.dumps(self.drawn))
        names = {"picked.npy": "application/x-npy", "drawn.json": "application/json"}
        return [Artifact(path=folder / name, content_type=kind) for name, kind in names.items()]


def run(
    problem: CountingProblem, hyperparameters: CountingHyperparameters, context: RunContext
) -> CountingResult | Stopped:
    """Add up a random number an epoch, then pick the largest."""
    if hyperparameters.count > problem.numbers.size:
        text = f"count is {hyperparameters.count}; there are {problem.numbers.size} numbers"
        raise InvalidHyperparameter(text, pointer="/hyperparameters/count")
    epoch, drawn = _begun(context)
    while epoch < hyperparameters.epochs:
        epoch, drawn = epoch + 1, drawn + float(np.random.default_rng([context.seed, epoch]).random())
        context.report(EpochReport(epoch=epoch, epochs=hyperparameters.epochs, metrics={"drawn": drawn}))
        stops = context.should_stop()
        every = context.checkpoints.every_epochs if context.checkpoints else None
        if context.checkpoints and (stops or (every and epoch % every == 0)):
            context.checkpoints.path.write_text(json.dumps([epoch, drawn]))
            context.checkpoints.saved(context.checkpoints.path, epoch)
        if stops:
            return Stopped(epoch=epoch)
    largest = np.sort(np.argsort(problem.numbers)[-hyperparameters.count :])
    shelves = [problem.shelves[place % len(problem.shelves)] for place in range(largest.size)]
    rows = list(zip(largest.tolist(), problem.numbers[largest].tolist(), shelves, strict=True))
    return CountingResult(picked=np.array(rows, dtype=PICKED), drawn=drawn)


def _begun(context: RunContext) -> tuple[int, float]:
    path = context.continue_from or context.resume_from
    if path is None:
        return 0, 0.0
    try:
        epoch, drawn = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointIncompatible("this is no state of a count") from error
    return (0 if context.continue_from else epoch), drawn


def answer(asked: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    """Give each number and what was drawn together."""
    drawn = json.loads(files["drawn.json"].read_text())
    return {"values": (asked["numbers"] + drawn).tolist()}


def summary_table(summary: Mapping[str, Any]) -> RenderableType:
    """Give how many were picked."""
    return pairs([("picked by counting", str(summary["n_picked"]))])


KIND = Kind(
    name="counting",
    summary="The largest of some numbers.",
    hyperparameters=CountingHyperparameters,
    inputs=CountingInputs,
    problem="tests.kinds.counting:CountingProblem",
    run="tests.kinds.counting:run",
    curves=("drawn",),
    artifacts={"picked.npy": "what was picked", "drawn.json": "what was drawn"},
    question=Question(inputs=CountingQuestion, artifacts=("drawn.json",), answer="tests.kinds.counting:answer"),
    tables={"picked": Table(artifact="picked.npy", columns={"index": "indices", "number": "numbers", "shelf": "on"})},
    summary_table="tests.kinds.counting:summary_table",
    example=Example(
        summary="Two of three numbers",
        problem={"numbers": [1.0, 3.0, 2.0], "shelves": [{"form": "low"}]},
        hyperparameters={"count": 2},
        question={"numbers": [0.5]},
    ),
)


@contextmanager
def known_here() -> Iterator[None]:
    """Have the kind on the list of this process; what was built from the list before does not change."""
    KINDS[KIND.name] = KIND
    try:
        yield
    finally:
        del KINDS[KIND.name]
