"""Costly findings, looked for once a job prepares: pairs of totals, and sets of them, that contradict one another.

docs/findings.md lists every code. The proofs of sets are in `certificates`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.alike import Rows, constant_ratio, same_support
from l0core.calibration.certificates import MEETS, Box, Certificate, certificate, shortened
from l0core.calibration.reach import reach
from l0core.calibration.row_facts import row_facts
from l0core.findings import Finding, shown

if TYPE_CHECKING:
    from l0core.calibration.problem import CalibrationProblem

_MOST_ROWS = 64  # of one support; in a larger group each row is compared with one only
_ROUNDING = 1e-9  # relative: a ratio at the end of its range is possible
_SIZES = (8, 32, 128)  # rows a certificate is looked for in, those the direction names first
_NAMED = 6  # targets of a set that its message names


@dataclass(frozen=True, kw_only=True)
class _Ratio:
    """The totals ask for `required` of the target `above` for each 1 of `below`; units have from `low` to `high`."""

    above: int
    below: int
    required: float
    low: float
    high: float
    n_units: int


def ratio_conflicts(problem: "CalibrationProblem", *, candidates: NDArray[np.bool_] | None = None) -> list[Finding]:
    """Give pairs of targets over the same units whose totals have a ratio that no unit's contributions have.

    As w >= 0, the ratio of two totals is an average of M_ij / M_kj; it cannot lie outside their range. `candidates`
    are the units that may carry weight, those with a design weight unless given. Rows in proportion are left to
    `duplicate_targets_in_conflict`. Of more than 64 rows over the same units each is compared with one only: the row
    that is nearest to a count. Cost: one pass over the nonzeros, then 32 at most over those of rows that share units.

    >>> from l0core.calibration.problem import CalibrationProblem
    >>> problem = CalibrationProblem.build([[1, 1], [2, 5]], [10, 60], target_names=["people", "dollars"])
    >>> [(finding.target, finding.value) for finding in ratio_conflicts(problem)]
    [('dollars', 6.0)]
    """
    matrix = _restricted(problem.matrix, problem.design_weights > 0 if candidates is None else candidates)
    rows = row_facts(matrix, np.ones(matrix.shape[1]))
    found = [
        ratio
        for group in same_support(matrix, rows)
        for each in _verified(matrix, group)
        for ratio in _ratios(matrix, problem.targets, each)
    ]
    return [_ratio_finding(problem.names, ratio) for ratio in sorted(found, key=lambda r: (r.above, r.below))]


def conflicting_set(
    names: Sequence[str],
    rows: NDArray[np.int64],
    matrix: sp.csr_array,
    goal: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    direction: FloatArray,
    *,
    row_scale: FloatArray | None = None,
    known: Collection[int] = (),
) -> Finding | None:
    """Give a small set of targets that no weights within the bounds meet together, with its proof; None without one.

    `matrix` holds the targets of the fit (scaled rows) by the candidate units, `goal` their scaled totals, `rows` their
    positions in the problem. `direction` says which rows to look at: the residual b - A w of the dense optimum. With
    `row_scale` (scaled row / row) the message speaks in the problem's own units. Targets that are `known` (positions in
    the problem) to be in conflict are left aside as long as there is another set. `value` is the share by which one of
    the totals at least would have to move.

    Cost: a few linear programs over 8, 32, then 128 rows, and a pass over those rows for each of their rounds.

    >>> rows, bounds = sp.csr_array([[1.0, 1.0], [2.0, 5.0]]), (np.zeros(2), np.full(2, np.inf))
    >>> found = conflicting_set(["people", "dollars"], np.arange(2), rows, np.array([10.0, 60.0]), *bounds, np.ones(2))
    >>> found.message.partition(": ")[2].partition(",")[0]
    "'dollars' - 5 x 'people' is at most 0 whatever the weights"
    """
    box = Box(
        matrix=matrix,
        goal=goal,
        lower=lower,
        upper=upper,
        tolerance=np.where(goal != 0, np.abs(goal), 1.0),
    )
    found = _first_certificate(box, np.where(np.isin(rows, list(known)), 0.0, direction))
    if found is None and known:
        found = _first_certificate(box, direction)
    if found is None:
        return None
    short = _by_weight(shortened(box, found), box.tolerance)
    factors = short.multipliers if row_scale is None else short.multipliers * row_scale[short.rows]
    return _set_finding(names, rows, short, factors)


def _restricted(matrix: sp.csr_array, candidates: NDArray[np.bool_]) -> sp.csr_array:
    """Give the entries of the candidates; the columns keep their numbers."""
    if candidates.all():
        return matrix
    kept = candidates[matrix.indices]
    starts = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return sp.csr_array((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)


def _entries(matrix: sp.csr_array, row: int) -> slice:
    return slice(matrix.indptr[row], matrix.indptr[row + 1])


def _verified(matrix: sp.csr_array, group: Rows) -> Iterator[Rows]:
    """Give the rows of a group that have the first one's columns; one hash for other columns is next to impossible."""
    columns = matrix.indices[_entries(matrix, int(group[0]))]
    same = [row for row in group if np.array_equal(matrix.indices[_entries(matrix, int(row))], columns)]
    if len(same) > 1:
        yield np.array(same)


def _ratios(matrix: sp.csr_array, totals: FloatArray, group: Rows) -> Iterator[_Ratio]:
    """Give the impossible ratios of rows over the same units."""
    spread = {row: _spread(matrix.data[_entries(matrix, row)], totals[row]) for row in map(int, group)}
    by_count = sorted(spread, key=lambda row: (spread[row], row))
    pairs = combinations(by_count, 2) if len(by_count) <= _MOST_ROWS else ((by_count[0], row) for row in by_count[1:])
    for below, above in pairs:
        if np.isfinite(spread[below]):
            yield from _impossible(matrix, totals, above, below)


def _spread(entries: FloatArray, total: float) -> float:
    """Give largest over smallest entry, 1 for a count; infinite for a row that nothing can be divided by."""
    low, high = float(entries.min()), float(entries.max())
    return high / low if low > 0 and total > 0 else np.inf


def _impossible(matrix: sp.csr_array, totals: FloatArray, above: int, below: int) -> Iterator[_Ratio]:
    numerators, denominators = (matrix.data[_entries(matrix, row)] for row in (above, below))
    if constant_ratio(numerators, denominators) is not None:
        return
    with np.errstate(over="ignore", under="ignore"):
        ratios = numerators / denominators
        required, low, high = float(totals[above] / totals[below]), float(ratios.min()), float(ratios.max())
    room = _ROUNDING * max(abs(low), abs(high))
    if np.isfinite([required, low, high]).all() and not low - room <= required <= high + room:
        yield _Ratio(above=above, below=below, required=required, low=low, high=high, n_units=ratios.size)


def _ratio_finding(names: Sequence[str], ratio: _Ratio) -> Finding:
    above, below = names[ratio.above], names[ratio.below]
    end = (
        f"the largest is {shown(ratio.high)}" if ratio.required > ratio.high else f"the smallest is {shown(ratio.low)}"
    )
    text = (
        f"targets '{above}' and '{below}' cannot be met together: their totals ask for {shown(ratio.required)} of the "
        f"first for each 1 of the second, and of the {ratio.n_units:,} units that count in them {end}"
    )
    return Finding(
        code="ratio_conflict", severity="error", target=above, index=ratio.above, message=text, value=ratio.required
    )


def _first_certificate(box: Box, direction: FloatArray) -> Certificate | None:
    """Look for a proof among the rows the direction names first, then among more.

    A row that alone is out of reach would hide every other conflict, and has a finding of its own.
    """
    ends = reach(sp.csr_array(box.matrix), box.lower, box.upper)
    room = MEETS * box.tolerance
    possible = (ends.low - room <= box.goal) & (box.goal <= ends.high + room)
    strength = np.where(possible & np.isfinite(direction), np.abs(direction), 0.0)
    order = np.argsort(-strength, kind="stable")[: int((strength > 0).sum())]
    sizes = dict.fromkeys(min(size, order.size) for size in _SIZES if order.size)
    found = (certificate(box, np.sort(order[:size])) for size in sizes)
    return next((each for each in found if each is not None), None)


def _by_weight(found: Certificate, tolerance: FloatArray) -> Certificate:
    """Give the proof with the rows that count most in it first."""
    order = np.argsort(-np.abs(found.multipliers) * tolerance[found.rows], kind="stable")
    return replace(found, rows=found.rows[order], multipliers=found.multipliers[order])


def _set_finding(names: Sequence[str], rows: Rows, found: Certificate, factors: FloatArray) -> Finding:
    """Put the proof into words, most telling target first; `factors` are for the problem's own rows."""
    lead = factors[0]
    word = "at most" if lead > 0 else "at least"
    limit, needed = shown(found.limit / lead), shown(found.needed / lead)
    text = (
        f"these {found.rows.size} targets cannot be met together: {_sum(names, found.rows, factors / lead)} is {word} "
        f"{limit} whatever the weights, and the totals ask for {needed}; at least one of them has to move by "
        f"{100 * found.gap:.3g} % or more"
    )
    first = int(found.rows[0])
    return Finding(
        code="infeasible_set",
        severity="error",
        target=names[first],
        index=int(rows[first]),
        message=text,
        value=found.gap,
    )


def _sum(names: Sequence[str], rows: Rows, factors: FloatArray) -> str:
    """Give the weighted sum of the first few targets in words."""
    terms = [_term(names[row], factor) for row, factor in zip(rows[:_NAMED], factors[:_NAMED], strict=True)]
    more = rows.size - len(terms)
    return "".join(terms).removeprefix(" + ") + (f" and terms of {more} more" if more else "")


def _term(name: str, factor: float) -> str:
    size = "" if abs(abs(factor) - 1) <= _ROUNDING else f"{shown(abs(factor))} x "
    return f" {'-' if factor < 0 else '+'} {size}'{name}'"
