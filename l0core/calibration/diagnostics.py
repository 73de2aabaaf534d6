"""How good a set of weights is: per target, and in a few numbers. Everything in float64."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.problem import CalibrationProblem


@dataclass(frozen=True, kw_only=True)
class TargetFit:
    """Every target under the design weights and under the calibrated ones; arrays of length Q."""

    problem: CalibrationProblem
    initial_estimates: FloatArray
    estimates: FloatArray
    initial_relative_errors: FloatArray
    relative_errors: FloatArray

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give one row a target, in the problem's order, as the HTTP surface names them."""
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
                "price": None,
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


def effective_sample_size(weights: FloatArray) -> float:
    """Give Kish's (sum w)^2 / sum w^2: how many equally weighted units are worth the same.

    >>> effective_sample_size(np.array([2.0, 2.0, 0.0]))
    2.0
    """
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def summarise(fit: TargetFit, weights: FloatArray) -> dict[str, Any]:
    """Give the numbers of a finished calibration: fit, held-out fit, and how the weight is spread."""
    numbers = _errors(fit, ~fit.problem.holdout) | _spread(fit.problem.design_weights, weights)
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


def _spread(design_weights: FloatArray, weights: FloatArray) -> dict[str, Any]:
    active = weights[weights > 0]
    effective = effective_sample_size(active)
    compared = (weights > 0) & (design_weights > 0)
    g_weights = weights[compared] / design_weights[compared]
    return {
        "n_units": int(weights.size),
        "n_active": int(active.size),
        "effective_sample_size": effective,
        "design_effect": active.size / effective if effective else None,
        "top_1_percent_share": _top_share(active),
        "max_weight": float(active.max(initial=0.0)),
        "max_g_weight": float(g_weights.max(initial=0.0)),
        "weights_total": float(active.sum()),
        "initial_weights_total": float(design_weights.sum()),
    }


def _top_share(active: FloatArray) -> float | None:
    if not active.size:
        return None
    top = np.sort(active)[-max(1, active.size // 100) :]
    return float(top.sum() / active.sum())
