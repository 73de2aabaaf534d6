"""The result of a calibration: weights, the fit of every target, the loss curves, and the files they are kept in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration import attribution, diagnostics, export
from l0core.calibration.breakdown import breakdown
from l0core.calibration.diagnostics import TargetFit
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.checkpoint import Identity
from l0core.findings import Finding
from l0core.history import History
from l0core.kind import Artifact

MOST_GROUPS = 20  # of the summary, which every list of jobs carries; `calibration_diagnostics.json` has more


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """`weights` are the N calibrated weights in float64; units that were not kept have exactly 0.

    `parts`, `omega_total` and `past_cap` are those of `attribution.LossParts`. `lower_bound` is the loss of the dense
    optimum (every candidate kept) and `prices` (Q, NaN where there is none) its dual values; None where it was not
    looked for. `findings` are those the run made, beside the problem's own.
    """

    problem: CalibrationProblem
    options: CalibrationHyperparameters
    identity: Identity
    weights: FloatArray
    history: History
    loss: float
    selection_loss: float
    checkpoint: Path | None
    parts: FloatArray
    omega_total: float
    past_cap: NDArray[np.bool_] | None = None
    lower_bound: float | None = None
    prices: FloatArray | None = None
    findings: tuple[Finding, ...] = ()

    @cached_property
    def fit(self) -> TargetFit:
        """Every target before and after."""
        return diagnostics.target_fit(self.problem, self.weights)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The result in numbers."""
        numbers = diagnostics.summarise(self.fit, self.weights) | self._losses() | {"epochs": self.history.steps[-1]}
        return numbers if self.problem.groups is None else numbers | {"by_group": self.by_group(MOST_GROUPS)}

    @cached_property
    def all_findings(self) -> list[Finding]:
        """The findings of the problem, then those of the run; one that both made stands once."""
        return list(dict.fromkeys([*self.problem.findings, *self.findings]))

    def target_rows(self) -> Iterator[dict[str, Any]]:
        """Give one row a target."""
        return self.fit.rows(self.prices)

    def breakdown(self, labels: Sequence[str | int]) -> list[dict[str, Any]]:
        """Give the errors and the loss by any labelling of the targets, one label a target (see `breakdown`)."""
        return breakdown(self.fit, labels, parts=self.parts)

    def by_group(self, most: int) -> dict[str, Any] | None:
        """Give the `most` groups that add most to the loss, and what the others add; None without groups."""
        if self.problem.groups is None:
            return None
        return attribution.largest_groups(self.breakdown(self.problem.groups.tolist()), most=most)

    def write(self, folder: Path) -> list[Artifact]:
        """Write the field's files into `folder` (see `export`)."""
        return export.write_all(self, folder)

    def _losses(self) -> dict[str, Any]:
        gap = None if self.lower_bound is None else self.loss - self.lower_bound
        return {
            "loss": self.loss,
            "normalised_loss": self.loss / self.omega_total,
            "selection_loss": self.selection_loss,
            "lower_bound": self.lower_bound,
            "gap_to_lower_bound": gap,
            "normalised_gap_to_lower_bound": None if gap is None else gap / self.omega_total,
            "past_cap": None if self.past_cap is None else int(self.past_cap.sum()),
        }
