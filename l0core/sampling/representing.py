"""How well weights of some units represent the whole: each column's error, and how even the weights are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration import diagnostics
from l0core.calibration.concentration import effective_sample_size
from l0core.calibration.diagnostics import TargetFit
from l0core.sampling.problem import SamplingProblem


@dataclass(frozen=True, kw_only=True)
class Representation:
    """Absolute relative errors of the columns (P), those held out (P), and the effective sample size."""

    errors: FloatArray
    holdout: NDArray[np.bool_]
    effective_sample_size: float

    @property
    def everywhere(self) -> float:
        """The mean error over all columns."""
        return float(self.errors.mean())

    @property
    def in_the_fit(self) -> float:
        """The mean error over the columns in the fit."""
        return float(self.errors[~self.holdout].mean())

    @property
    def left_out(self) -> float | None:
        """The mean error over the held-out columns; None where there are none."""
        return float(self.errors[self.holdout].mean()) if self.holdout.any() else None

    @cached_property
    def numbers(self) -> dict[str, float | None]:
        """The four numbers by their public names."""
        return {
            "mean_abs_relative_error": self.everywhere,
            "fit_mean_abs_relative_error": self.in_the_fit,
            "holdout_mean_abs_relative_error": self.left_out,
            "effective_sample_size": self.effective_sample_size,
        }


def column_fit(problem: SamplingProblem, weights: FloatArray) -> TargetFit:
    """Compare `weights` (N) with the design weights on every column."""
    return diagnostics.target_fit(problem.totals, weights)


def representation(problem: SamplingProblem, weights: FloatArray) -> Representation:
    """Give how well `weights` (N) represent the whole."""
    return Representation(
        errors=np.abs(column_fit(problem, weights).relative_errors),
        holdout=problem.holdout,
        effective_sample_size=effective_sample_size(weights),
    )


def spreads(problem: SamplingProblem, weights: FloatArray) -> FloatArray:
    """Give the weighted standard deviation of each column under `weights` (N)."""
    total = float(weights.sum())
    mean = problem.features.T @ weights / total
    squares = (problem.features**2).T @ weights / total
    return np.asarray(np.sqrt(np.maximum(squares - mean**2, 0.0)))
