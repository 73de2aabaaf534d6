"""Targets that say the same: rows equal or proportional to one another, with totals that agree or do not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.row_facts import RowFacts
from l0core.findings import Finding, Severity, shown

if TYPE_CHECKING:
    from l0core.calibration.problem import CalibrationProblem

Rows = NDArray[np.int64]
ENTRIES_AGREE = 1e-12  # relative: what scaling a row rounds off
_TOTALS_AGREE = 1e-9  # relative: totals that differ by more contradict one another


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Row `second` is `factor` times row `first`."""

    first: int
    second: int
    factor: float


def alike(matrix: sp.csr_array, rows: RowFacts) -> Iterator[Alike]:
    """Give, for each set of rows proportional to one another, its first row with each of the others.

    Rows of one support and nearly one profile are compared entry by entry; a row without entries is like no other.
    Cost: a sort of the rows and, of those that look alike, one pass over their entries.

    >>> from l0core.calibration.row_facts import row_facts
    >>> matrix = sp.csr_array([[1.0, 2.0], [3.0, 0.0], [2.0, 4.0]])
    >>> list(alike(matrix, row_facts(matrix, np.ones(2))))
    [Alike(first=0, second=2, factor=2.0)]
    """
    for group in same_support(matrix, rows, profile=True):
        first = int(group[0])
        for second in map(int, group[1:]):
            factor = _factor(matrix, first, second)
            if factor is not None:
                yield Alike(first=first, second=second, factor=factor)


def same_support(matrix: sp.csr_array, rows: RowFacts, *, profile: bool = False) -> Iterator[Rows]:
    """Give groups of two rows or more whose supports have one hash and size, each in order.

    With `profile` rows of a group are also nearly proportional. Equal hashes are no proof: compare the columns.
    """
    sizes = np.diff(matrix.indptr)
    keys = (rows.profile, rows.support, sizes) if profile else (rows.support, sizes)
    order = np.lexsort(keys)
    order = order[sizes[order] > 0]
    parts = (np.diff(sizes[order]) != 0) | (np.diff(rows.support[order]) != 0)
    if profile:
        parts |= np.diff(rows.profile[order]) > ENTRIES_AGREE
    cuts = np.concatenate([[0], np.flatnonzero(parts) + 1, [order.size]])
    for at in np.flatnonzero(np.diff(cuts) > 1):
        yield np.sort(order[cuts[at] : cuts[at + 1]])


def alike_targets(problem: "CalibrationProblem", rows: RowFacts) -> Iterator[Finding]:
    """Give each target that repeats an earlier one: an error where their totals contradict one another."""
    for pair in sorted(alike(problem.matrix, rows), key=lambda pair: pair.second):
        first, second = (float(problem.targets[i]) for i in (pair.first, pair.second))
        apart = _apart(second, pair.factor * first)
        yield _conflict(problem, pair, apart) if apart > _TOTALS_AGREE else _repeated(problem, pair)


def _factor(matrix: sp.csr_array, first: int, second: int) -> float | None:
    """Give the number that the second row is the first one times, None where there is none."""
    one, other = (slice(matrix.indptr[i], matrix.indptr[i + 1]) for i in (first, second))
    if not np.array_equal(matrix.indices[one], matrix.indices[other]):
        return None
    return constant_ratio(matrix.data[other], matrix.data[one])


def constant_ratio(numerators: FloatArray, denominators: FloatArray) -> float | None:
    """Give the ratio of two rows of one support where it is the same everywhere but for rounding.

    >>> constant_ratio(np.array([3.0, 6.0]), np.array([1.0, 2.0])), constant_ratio(np.ones(2), np.array([1.0, 2.0]))
    (3.0, None)
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        ratios = numerators / denominators
        factor = float(ratios[np.argmax(np.abs(denominators))])
        is_constant = bool((np.abs(ratios - factor) <= ENTRIES_AGREE * abs(factor)).all())
    return factor if is_constant and np.isfinite(factor) and factor != 0 else None


def _apart(total: float, implied: float) -> float:
    largest = max(abs(total), abs(implied))
    if not largest:
        return 0.0
    return abs(total / largest - implied / largest) if np.isfinite(largest) else 1.0


def _repeated(problem: "CalibrationProblem", pair: Alike) -> Finding:
    text = f"{_relation(problem, pair)}, and their totals agree: the second says nothing new"
    return _finding(problem, pair, "duplicate_targets", "info", text)


def _conflict(problem: "CalibrationProblem", pair: Alike, apart: float) -> Finding:
    first, second = (shown(problem.targets[i]) for i in (pair.first, pair.second))
    text = f"{_relation(problem, pair)}; their totals, {first} and {second}, are {100 * apart:.3g} % off"
    found = _finding(problem, pair, "duplicate_targets_in_conflict", "error", f"{text}: no weights meet both")
    return found.model_copy(update={"value": apart})


def _relation(problem: "CalibrationProblem", pair: Alike) -> str:
    first, second = problem.names[pair.first], problem.names[pair.second]
    if abs(pair.factor - 1) <= ENTRIES_AGREE:
        return f"targets '{first}' and '{second}' have the same entry for every unit"
    return f"target '{second}' is {shown(pair.factor)} times target '{first}' in every unit"


def _finding(problem: "CalibrationProblem", pair: Alike, code: str, severity: Severity, message: str) -> Finding:
    name = problem.names[pair.second]
    return Finding(code=code, severity=severity, target=name, index=pair.second, message=message)
