"""A pruning problem: rows with outcomes and a network. Validated once, then trusted everywhere. Torch-free."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from l0core import arrays
from l0core.arrays import Axis, FloatArray
from l0core.canonical import Addressed, Content
from l0core.errors import InvalidInput
from l0core.findings import Finding, shown
from l0core.pruning import starting
from l0core.pruning.inputs import HOLDOUT_FRACTION
from l0core.pruning.network import Network, Plan
from l0core.pruning.rows import dense_rows

KIND_NAME = "pruning"
Task = Literal["classification", "regression"]
_TASKS = ("classification", "regression")
_WIDE = 100.0  # a column beyond this was not scaled
_MOST_SIZE = 1e15


@dataclass(frozen=True, kw_only=True)
class PruningProblem(Addressed):
    """n rows of d features with their outcomes: whole numbers below `plan.outputs` for classes, else any.

    `starting_weights` are float32 by their names in the network, or none. Build one with `PruningProblem.build`.
    """

    features: FloatArray
    outcome: FloatArray
    task: Task
    plan: Plan
    holdout_fraction: float
    starting_weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        features: object,
        outcome: ArrayLike,
        *,
        task: str,
        network: Network | Mapping[str, Any],
        starting_weights: Mapping[str, ArrayLike] | None = None,
        holdout_fraction: float = HOLDOUT_FRACTION,
    ) -> Self:
        """Check everything and give the problem; raises InvalidInput (see `l0core.errors`) naming the first fault.

        >>> network = {"layers": [{"type": "linear", "units": 2}]}
        >>> PruningProblem.build([[1.0], [2.0], [3.0]], [0, 1, 1], task="classification", network=network).sizes
        {'n_rows': 3, 'n_features': 1, 'n_outputs': 2, 'n_parameters': 4}
        """
        rows = dense_rows(features)
        plan = Plan.of(_network(network), rows.shape[1])
        named = _task(task)
        problem = cls(
            features=rows,
            outcome=_outcome(outcome, named, plan, len(rows)),
            task=named,
            plan=plan,
            holdout_fraction=_fraction(holdout_fraction, len(rows)),
            starting_weights={} if starting_weights is None else starting.checked(starting_weights, plan),
        )
        _check_outputs(problem)
        return problem

    @property
    def n_rows(self) -> int:
        """n, held-out rows included."""
        return len(self.features)

    @property
    def n_holdout(self) -> int:
        """How many rows are held out."""
        return _held_out(self.holdout_fraction, self.n_rows)

    @property
    def sizes(self) -> dict[str, int]:
        """What the service shows beside a problem's id."""
        return {
            "n_rows": self.n_rows,
            "n_features": int(self.features.shape[1]),
            "n_outputs": self.plan.outputs,
            "n_parameters": self.plan.parameters,
        }

    @cached_property
    def findings(self) -> list[Finding]:
        """What is doubtful with it."""
        return [*_empty_classes(self), *_constant_outcome(self), *_wide_columns(self)]

    @cached_property
    def content(self) -> Content:
        """The problem as named arrays and values, defaults filled in."""
        return Content(
            kind=KIND_NAME,
            arrays={"features": self.features, "outcome": self.outcome, **self.starting_weights},
            values={
                "task": self.task,
                "network": self.plan.network.model_dump(),
                "holdout_fraction": self.holdout_fraction,
            },
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, trusting it: it was validated when it was built."""
        content = Content.load(path)
        held, values = dict(content.arrays), content.values
        features, outcome = held.pop("features"), held.pop("outcome")
        return cls(
            features=features,
            outcome=outcome,
            task=values["task"],
            plan=Plan.of(Network.model_validate(values["network"]), features.shape[1]),
            holdout_fraction=values["holdout_fraction"],
            starting_weights=held,
        )


def _network(given: Network | Mapping[str, Any]) -> Network:
    if isinstance(given, Network):
        return given
    try:
        return Network.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        place = "/".join(str(part) for part in fault["loc"] if not str(part).startswith("~"))
        raise InvalidInput(f"network: {fault['msg']} at {place}", pointer=f"/network/{place}") from error


def _task(given: str) -> Task:
    if given not in _TASKS:
        raise InvalidInput(f"task is {given!r}; it must be one of {', '.join(_TASKS)}", pointer="/task")
    return cast("Task", given)


def _outcome(values: ArrayLike, task: Task, plan: Plan, n: int) -> FloatArray:
    axis = Axis(length=n, noun="rows of features")
    if task == "regression":
        need = f"must be within {_MOST_SIZE:g} of 0"
        return arrays.vector(values, name="outcome", axis=axis, rule=lambda y: np.abs(y) <= _MOST_SIZE, need=need)
    need = f"must be a class id: a whole number from 0 to {plan.outputs - 1}, one less than the last layer's units"
    return arrays.vector(
        values,
        name="outcome",
        axis=axis,
        rule=lambda y: (y == np.round(y)) & (y >= 0) & (y < plan.outputs),
        need=need,
    )


def _fraction(given: float, n: int) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1:
        raise InvalidInput(
            f"holdout_fraction is {given!r}; it must be a number of 0 or more and below 1", pointer="/holdout_fraction"
        )
    if n < 2:
        raise InvalidInput(f"features has {n} row; a training needs 2 at least", pointer="/features")
    held = _held_out(given, n)
    if n - held < 2 or (given > 0 and held < 1):
        raise InvalidInput(
            f"holdout_fraction {given:g} of {n} rows holds out {held} and leaves {n - held}; needed are 1 and 2: give "
            "more rows, or 0 to hold out none",
            pointer="/holdout_fraction",
        )
    return float(given)


def _held_out(fraction: float, n: int) -> int:
    return round(fraction * n)


def _check_outputs(problem: PruningProblem) -> None:
    units, last = problem.plan.outputs, problem.plan.places[-1].index
    wrong = units != 1 if problem.task == "regression" else units < 2
    if wrong:
        need = "1, the number it predicts" if problem.task == "regression" else "2 or more, one a class"
        raise InvalidInput(
            f"network.layers[{last}] has {units} units; the last layer of a {problem.task} has {need}",
            pointer=f"/network/layers/{last}/units",
        )


def _empty_classes(problem: PruningProblem) -> Iterator[Finding]:
    if problem.task == "regression":
        return
    counts = np.bincount(problem.outcome.astype(np.int64), minlength=problem.plan.outputs)
    for class_id in np.flatnonzero(counts == 0)[:100].tolist():
        yield Finding(
            code="class_without_rows",
            severity="warning",
            index=class_id,
            message=f"no row has class {class_id}, for which the network has an output",
        )


def _constant_outcome(problem: PruningProblem) -> Iterator[Finding]:
    first = float(problem.outcome[0])
    if (problem.outcome == first).all():
        yield Finding(
            code="constant_outcome",
            severity="warning",
            value=first,
            message=f"every outcome is {shown(first)}: there is nothing to learn",
        )


def _wide_columns(problem: PruningProblem) -> Iterator[Finding]:
    sizes = np.abs(problem.features).max(0)
    wide = np.flatnonzero(sizes > _WIDE)
    if wide.size:
        column = int(sizes.argmax())
        yield Finding(
            code="unscaled_features",
            severity="warning",
            index=column,
            value=float(sizes[column]),
            message=f"{wide.size} of {sizes.size} columns of features go beyond {_WIDE:g}, column {column} to "
            f"{shown(float(sizes[column]))}: networks learn columns scaled to about 1",
        )
