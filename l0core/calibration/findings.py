"""Structural findings of a calibration problem: found in a pass or two over the nonzeros, before any job runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from l0core.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from l0core.calibration.problem import CalibrationProblem


def structural_findings(problem: CalibrationProblem) -> list[Finding]:
    """Give every structural finding of `problem`, the same each time."""
    return [finding for check in _CHECKS for finding in check(problem)]


def _no_support(problem: CalibrationProblem) -> Iterator[Finding]:
    support = np.diff(problem.matrix.indptr)
    for i in np.flatnonzero((support == 0) & (problem.targets != 0)):
        yield Finding(
            code="no_support",
            severity="error",
            target=problem.names[i],
            index=int(i),
            message=f"target '{problem.names[i]}' is {problem.targets[i]:g}, and no unit contributes to it",
            value=float(problem.targets[i]),
        )


def _wrong_sign(problem: CalibrationProblem) -> Iterator[Finding]:
    """No non-negative weights give a positive total from entries that are all negative, nor the reverse."""
    rows = np.repeat(np.arange(problem.n_targets), np.diff(problem.matrix.indptr))
    has_positive = np.bincount(rows[problem.matrix.data > 0], minlength=problem.n_targets) > 0
    has_negative = np.bincount(rows[problem.matrix.data < 0], minlength=problem.n_targets) > 0
    y = problem.targets
    wrong = ((y > 0) & ~has_positive & has_negative) | ((y < 0) & ~has_negative & has_positive)
    for i in np.flatnonzero(wrong):
        sign = "negative" if y[i] > 0 else "positive"
        yield Finding(
            code="wrong_sign",
            severity="error",
            target=problem.names[i],
            index=int(i),
            message=f"target '{problem.names[i]}' is {y[i]:g}, and every unit's contribution to it is {sign}",
            value=float(y[i]),
        )


def _empty_columns(problem: CalibrationProblem) -> Iterator[Finding]:
    used = np.zeros(problem.n_units, dtype=np.bool_)
    used[problem.matrix.indices] = True
    empty = int(problem.n_units - used.sum())
    if empty:
        text = f"{empty} of {problem.n_units} units contribute to no target; they get weight 0"
        yield Finding(code="empty_columns", severity="info", message=text, value=float(empty))


def _zero_design_weights(problem: CalibrationProblem) -> Iterator[Finding]:
    zeros = int((problem.design_weights == 0).sum())
    if zeros:
        text = f"{zeros} of {problem.n_units} units have design weight 0; `zero_prior` says what becomes of them"
        yield Finding(code="zero_design_weights", severity="info", message=text, value=float(zeros))


_CHECKS: tuple[Callable[[CalibrationProblem], Iterator[Finding]], ...] = (
    _no_support,
    _wrong_sign,
    _empty_columns,
    _zero_design_weights,
)
