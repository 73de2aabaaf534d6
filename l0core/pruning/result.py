"""The result of a pruning: the compact network, how it does beside the dense one, the loss curves, and their files."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from l0core.checkpoint import Identity
from l0core.history import History
from l0core.kind import Artifact
from l0core.plain import plain
from l0core.pruning import export
from l0core.pruning.judging import Score
from l0core.pruning.latency import Latency
from l0core.pruning.model import Model
from l0core.pruning.network import WeightedPlace
from l0core.pruning.options import PruningHyperparameters
from l0core.pruning.problem import PruningProblem

PARTS = ("training", "holdout")


@dataclass(frozen=True, kw_only=True)
class NetworkScores:
    """How a network does on the rows it learned from and on those held out."""

    training: Score
    holdout: Score


@dataclass(frozen=True, kw_only=True)
class PruningResult:
    """`dense` is the twin that was trained alike without gates, `compact` what was chosen.

    `kept` are the parameters that may be other than 0 in `compact`, `goal` those that were asked for. `scores` and
    `latency` are by network: dense, gated (scores only), compact. `unit` is the standard deviation of a regression's
    outcome. `onnx_difference` is the largest difference of an output of `onnx` and of `forward`, over training rows.
    """

    problem: PruningProblem
    options: PruningHyperparameters
    identity: Identity
    dense: Model
    compact: Model
    onnx: bytes
    onnx_difference: float
    kept: int
    goal: int | None
    scores: Mapping[str, NetworkScores]
    unit: float
    latency: Mapping[str, Latency]
    history: History
    checkpoint: Path | None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The result in numbers."""
        rows = {"n_rows": self.problem.n_rows, "n_holdout": self.problem.n_holdout}
        numbers = {**rows, "epochs": self.history.steps[-1], **self._sizes(), **self._scores(), **self._latency()}
        found: dict[str, Any] = plain(numbers)
        return found

    def target_rows(self) -> Iterator[dict[str, Any]]:
        """Give nothing: a pruning has no targets."""
        return iter(())

    def write(self, folder: Path) -> list[Artifact]:
        """Write every file into `folder` (see `export`)."""
        return export.write_all(self, folder)

    def units(self) -> list[dict[str, Any]]:
        """Give for each layer with weights the units it had and has."""
        pairs = zip(self.dense.plan.weighted, self.compact.plan.weighted, strict=True)
        return [_units(before, after) for before, after in pairs]

    def _sizes(self) -> dict[str, Any]:
        dense, compact = self.dense.plan.parameters, self.compact.plan.parameters
        return {
            "parameters": {"dense": dense, "kept": self.kept, "stored": compact, "target": self.goal},
            "sparsity": 1 - self.kept / dense,
            "bytes": {"dense": self.dense.bytes, "compact": self.compact.bytes, "onnx": len(self.onnx)},
            "units": self.units(),
        }

    def _scores(self) -> dict[str, Any]:
        losses = {name: {part: getattr(each, part).loss for part in PARTS} for name, each in self.scores.items()}
        right = {name: {part: getattr(each, part).right for part in PARTS} for name, each in self.scores.items()}
        if self.problem.task == "classification":
            return {"loss": losses, "accuracy": right}
        errors = {name: {p: math.sqrt(loss) * self.unit for p, loss in each.items()} for name, each in losses.items()}
        return {"loss": losses, "r2": right, "rmse": errors}

    def _latency(self) -> dict[str, Any]:
        return {
            "latency_microseconds": {
                name: {"one_row": each.one_row, "all_rows": each.all_rows} for name, each in self.latency.items()
            },
            "latency_rows": self.latency["compact"].rows,
            "onnx_difference": self.onnx_difference,
        }


def _units(before: WeightedPlace, after: WeightedPlace) -> dict[str, Any]:
    return {"layer": before.index, "type": before.layer.type, "before": before.units, "after": after.units}
