"""How good a set of weights is: per target, and in a few numbers. Everything in float64.

`breakdown` has the fit by any labelling of the targets, `attribution` what the loss is made of, `concentration` how
the weight is spread. docs/diagnostics.md lists every number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.concentration import spread
from l0core.calibration.problem import CalibrationProblem


@dataclass(frozen=True, kw_only=True)
class TargetFit:
    """Every target under the design weights and under the calibrated ones; arrays of length Q."""

    problem: CalibrationProblem
    initial_estimates: FloatArray
    estimates: FloatArray
    initial_relative_errors: FloatArray
    relative_errors: FloatArray

    def rows(self, prices: FloatArray | None = None) -> Iterator[dict[str, Any]]:
        """Give one row a target, in the problem's order, as the HTTP surface names them.

        `prices` (Q) are NaN for targets that have none.
        """
        p = self.problem
        for i, name in enumerate(p.names):
            yield {
                "index": i,
                "name": name,
                "value": float(p.targets[i]),
                "initial_estimate": float(self.initial_estimates[i]),
                "estimate": float(self.estimates[i]),
                "relative_error": float(self.relative_errors[i]),
                "abs_relative_error": abs(float(self.relative_errors[i])),
                "group": None if p.groups is None else int(p.groups[i]),
                "holdout": bool(p.holdout[i]),
                "price": None if prices is None or not np.isfinite(prices[i]) else float(prices[i]),
            }


def target_fit(problem: CalibrationProblem, weights: FloatArray) -> TargetFit:
    """Compare `weights` (N) with the design weights on every target."""
    before, after = problem.estimates(problem.design_weights), problem.estimates(weights)
    return TargetFit(
        problem=problem,
        initial_estimates=before,
        estimates=after,
        initial_relative_errors=problem.relative_errors(before),
        relative_errors=problem.relative_errors(after),
    )


def summarise(fit: TargetFit, weights: FloatArray) -> dict[str, Any]:
    """Give the numbers of a finished calibration: fit, held-out fit, and how the weight is spread."""
    numbers = _errors(fit, ~fit.problem.holdout) | spread(fit.problem.design_weights, weights)
    if fit.problem.holdout.any():
        numbers["holdout"] = _errors(fit, fit.problem.holdout)
    return numbers


def _errors(fit: TargetFit, which: NDArray[np.bool_]) -> dict[str, Any]:
    after, before = np.abs(fit.relative_errors[which]), np.abs(fit.initial_relative_errors[which])
    return {
        "n_targets": int(which.sum()),
        "mean_abs_relative_error": float(after.mean()),
        "median_abs_relative_error": float(np.median(after)),
        "max_abs_relative_error": float(after.max()),
        "within_1_percent": int((after <= 0.01).sum()),
        "within_5_percent": int((after <= 0.05).sum()),
        "within_10_percent": int((after <= 0.10).sum()),
        "within_tolerance": _within_tolerance(fit, which),
        "initial_mean_abs_relative_error": float(before.mean()),
        "initial_median_abs_relative_error": float(np.median(before)),
        "initial_max_abs_relative_error": float(before.max()),
        "initial_within_1_percent": int((before <= 0.01).sum()),
        "initial_within_5_percent": int((before <= 0.05).sum()),
        "initial_within_10_percent": int((before <= 0.10).sum()),
    }


def _within_tolerance(fit: TargetFit, which: NDArray[np.bool_]) -> int | None:
    if fit.problem.tolerances is None:
        return None
    return int((np.abs(fit.relative_errors) <= fit.problem.tolerances)[which].sum())
