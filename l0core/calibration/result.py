"""The result of a calibration: weights, the fit of every target, the loss curves, and the files they are kept in."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from l0core.arrays import FloatArray
from l0core.calibration import diagnostics, export
from l0core.calibration.checkpoint import Identity
from l0core.calibration.diagnostics import TargetFit
from l0core.calibration.history import History
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.kind import Artifact


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """`weights` are the N calibrated weights in float64; units that were not kept have exactly 0."""

    problem: CalibrationProblem
    options: CalibrationHyperparameters
    identity: Identity
    weights: FloatArray
    history: History
    loss: float
    selection_loss: float
    checkpoint: Path | None

    @cached_property
    def fit(self) -> TargetFit:
        """Every target before and after."""
        return diagnostics.target_fit(self.problem, self.weights)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The result in numbers."""
        numbers = diagnostics.summarise(self.fit, self.weights)
        return numbers | {"loss": self.loss, "selection_loss": self.selection_loss, "epochs": self.history.steps[-1]}

    def target_rows(self) -> Iterator[dict[str, Any]]:
        """Give one row a target."""
        return self.fit.rows()

    def write(self, folder: Path) -> list[Artifact]:
        """Write the field's files into `folder` (see `export`)."""
        return export.write_all(self, folder)
