"""What bounds of weights let each target reach, and the targets that lie outside."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.findings import Finding, shown
from l0core.matrices import runs_of_rows

if TYPE_CHECKING:
    from l0core.calibration.problem import CalibrationProblem

CODE = "out_of_reach"
_ROUNDING = 1e-9  # of what a total is made of; a target at the end of its reach is inside


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The smallest and the largest total of each row, the sizes of what they are summed from, its entries' signs."""

    low: FloatArray
    high: FloatArray
    low_size: FloatArray
    high_size: FloatArray
    positive: NDArray[np.bool_]
    negative: NDArray[np.bool_]


def reach(matrix: sp.csr_array, lower: FloatArray, upper: FloatArray) -> Reach:
    """Give what the rows' totals can be over lower <= w <= upper: sum_j M_ij lower_j or upper_j, by the entry's sign.

    An infinite bound gives an infinite end.

    >>> totals = reach(sp.csr_array([[1.0, -2.0]]), np.zeros(2), np.array([3.0, np.inf]))
    >>> totals.low.tolist(), totals.high.tolist()
    ([-inf], [3.0])
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an end beyond the largest float is none
        parts = [_reach(matrix, lower, upper, begin, end) for begin, end in runs_of_rows(matrix.indptr)]
    return Reach(**{each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Reach)})


def out_of_reach(
    problem: "CalibrationProblem",
    lower: FloatArray | None,
    upper: FloatArray | None,
    *,
    known: Iterable[Finding] = (),
) -> list[Finding]:
    """Give a finding for each target that no weights within the bounds meet; None is no bound (0, infinity).

    Targets that no weights at all could meet have findings of their own (`no_support`, `wrong_sign`), and one that
    `known` names already is not named again. Linear in the nonzeros.
    """
    if lower is None and upper is None:
        return []
    n_units = problem.n_units
    ends = reach(
        problem.matrix,
        np.zeros(n_units) if lower is None else lower,
        np.full(n_units, np.inf) if upper is None else upper,
    )
    named = {finding.index for finding in known if finding.code == CODE}
    return [finding for finding in _outside(problem, ends) if finding.index not in named]


def _reach(matrix: sp.csr_array, lower: FloatArray, upper: FloatArray, begin: int, end: int) -> Reach:
    positive, negative = (_signed(matrix, begin, end, sign) for sign in (1, -1))
    least, most = (positive @ lower, negative @ upper), (positive @ upper, negative @ lower)
    return Reach(
        low=least[0] - least[1],
        high=most[0] - most[1],
        low_size=least[0] + least[1],
        high_size=most[0] + most[1],
        positive=np.diff(positive.indptr) > 0,
        negative=np.diff(negative.indptr) > 0,
    )


def _signed(matrix: sp.csr_array, begin: int, end: int, sign: int) -> sp.csr_array:
    """Give the entries of one sign, their sizes, of some rows."""
    indptr = matrix.indptr[begin : end + 1]
    data, columns = (array[indptr[0] : indptr[-1]] for array in (matrix.data, matrix.indices))
    kept = data * sign > 0
    starts = np.concatenate([[0], np.cumsum(kept)])[indptr - indptr[0]]
    return sp.csr_array((np.abs(data[kept]), columns[kept], starts), shape=(end - begin, matrix.shape[1]))


def _outside(problem: "CalibrationProblem", ends: Reach) -> Iterator[Finding]:
    y = problem.targets
    hopeless = ((y > 0) & ~ends.positive) | ((y < 0) & ~ends.negative)
    with np.errstate(over="ignore", invalid="ignore"):
        over, under = y - ends.high, ends.low - y
    above = _beyond(over, ends.high_size, y) & ~hopeless
    below = _beyond(under, ends.low_size, y) & ~hopeless
    for i in np.flatnonzero(above | below):
        yield _finding(problem, int(i), float(ends.high[i] if above[i] else ends.low[i]), at_most=bool(above[i]))


def _beyond(by: FloatArray, made_of: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
    """Say where a total is missed by more than rounding; an infinite end is never passed."""
    with np.errstate(over="ignore"):
        beyond: NDArray[np.bool_] = np.isfinite(made_of) & (by > _ROUNDING * (made_of + np.abs(y)))
    return beyond


def _finding(problem: "CalibrationProblem", i: int, nearest: float, *, at_most: bool) -> Finding:
    name, end = problem.names[i], f"{shown(nearest)} at {'most' if at_most else 'least'}"
    text = f"target '{name}' is {shown(problem.targets[i])}; the bounds of the weights let it be {end}"
    return Finding(code=CODE, severity="error", target=name, index=i, message=text, value=nearest)
