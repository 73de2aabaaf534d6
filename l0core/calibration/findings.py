"""Structural findings of a calibration problem: found in a few passes over the nonzeros, before any job runs.

What takes more than that, `conflicts` looks for once a job prepares. docs/findings.md lists every code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from l0core.calibration.alike import alike_targets
from l0core.calibration.reach import out_of_reach
from l0core.calibration.row_facts import RowFacts, row_facts
from l0core.findings import Finding, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from l0core.calibration.problem import CalibrationProblem

_LARGE_BYTES = 2**30  # below this nobody asks what a selection takes
_SELECTION = 1.2  # memory of a selection over that of the compact matrix
_BYTES_A_UNIT = 64
_SHORT_INDEX = 2**16  # rows up to this many are numbered in 2 bytes in the compact matrix, beyond in 4


def structural_findings(problem: CalibrationProblem) -> list[Finding]:
    """Give every structural finding of `problem`, the same each time."""
    rows = row_facts(problem.matrix, problem.design_weights)
    return [finding for check in _CHECKS for finding in check(problem, rows)]


def _no_support(problem: CalibrationProblem, _: RowFacts) -> Iterator[Finding]:
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


def _wrong_sign(problem: CalibrationProblem, rows: RowFacts) -> Iterator[Finding]:
    """No non-negative weights give a positive total from entries that are all negative, nor the reverse."""
    y = problem.targets
    wrong = ((y > 0) & ~rows.positive & rows.negative) | ((y < 0) & ~rows.negative & rows.positive)
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


def _out_of_reach(problem: CalibrationProblem, _: RowFacts) -> Iterator[Finding]:
    yield from out_of_reach(problem, problem.lower_bounds, problem.upper_bounds)


def _degenerate(problem: CalibrationProblem, rows: RowFacts) -> Iterator[Finding]:
    """Name targets below what the design weights let any of their units bring, and below half of what all bring.

    The second says something only of a target of one unit, whose total is that unit's share: it may be lowered.
    """
    size, share = np.abs(problem.targets), rows.smallest_share
    for i in np.flatnonzero((size > 0) & (size < share) & (size < rows.shares / 2) & np.isfinite(share)):
        yield Finding(
            code="degenerate_target",
            severity="warning",
            target=problem.names[i],
            index=int(i),
            message=f"target '{problem.names[i]}' is {shown(problem.targets[i])}; a single unit brings at least "
            f"{shown(share[i])} under the design weights: hardly any can carry weight there",
            value=float(share[i]),
        )


def _empty_columns(problem: CalibrationProblem, _: RowFacts) -> Iterator[Finding]:
    used = np.zeros(problem.n_units, dtype=np.bool_)
    used[problem.matrix.indices] = True
    empty = int(problem.n_units - used.sum())
    if empty:
        text = f"{empty} of {problem.n_units} units contribute to no target; they get weight 0"
        yield Finding(code="empty_columns", severity="info", message=text, value=float(empty))


def _zero_design_weights(problem: CalibrationProblem, _: RowFacts) -> Iterator[Finding]:
    zeros = int((problem.design_weights == 0).sum())
    if zeros:
        text = f"{zeros} of {problem.n_units} units have design weight 0; `zero_prior` says what becomes of them"
        yield Finding(code="zero_design_weights", severity="info", message=text, value=float(zeros))


def _memory_estimate(problem: CalibrationProblem, _: RowFacts) -> Iterator[Finding]:
    estimate = selection_bytes(problem)
    if estimate >= _LARGE_BYTES:
        text = f"a selection takes about {estimate / 2**30:.1f} GiB of memory beside the problem itself"
        yield Finding(code="memory_estimate", severity="info", message=text, value=float(estimate))


def selection_bytes(problem: CalibrationProblem) -> int:
    """Give about how much memory a selection takes: 1.2 times the compact matrix, and 64 bytes a unit.

    The compact matrix is held by columns: a float32 and a row's number for each nonzero, a start for each unit.
    """
    entry = 4 + (2 if problem.n_targets <= _SHORT_INDEX else 4)
    return int(_SELECTION * (problem.nnz * entry + 8 * problem.n_units)) + _BYTES_A_UNIT * problem.n_units


_CHECKS: tuple[Callable[[CalibrationProblem, RowFacts], Iterator[Finding]], ...] = (
    _no_support,
    _wrong_sign,
    _out_of_reach,
    alike_targets,
    _degenerate,
    _empty_columns,
    _zero_design_weights,
    _memory_estimate,
)
