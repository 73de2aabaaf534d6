"""Exchanges of kept units for others, each for a lower loss: what a pursuit, which never looks back, leaves to gain.

For every unit i that could leave and every unit j that could come, the loss after the exchange and a refit is known
from products with the matrix (Fedorov 1972, "Theory of optimal experiments", exchanges determinants the same way):

    leaving:  r_i = r + x_i p_i,     p_i = the part of a_i that the other free units do not span
    coming:   x_j = a_j'r_i / s_ij,  s_ij = ||P a_j||^2 + (a_j'p_i)^2 / ||p_i||^2 = its part beyond them, squared

with the bounds of x_j obeyed and those of the others left aside. The best are tried by real fits, several at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.bounded_least_squares import factor
from l0core.calibration.support import Columns, Positions, Pursuit, Support, gains

_PAIRS = 2**21  # that are looked at in a round, where that is more than those of
_LEAVERS = 64  # the units whose leaving costs least
_FEW = 2**15  # units that are all looked at as coming
_NEAREST = 64  # of more than that, for each that leaves
_BREADTH = 8  # directions that are multiplied with the matrix at a time: some 32 N numbers of memory
_AT_ONCE = 8
_ALONE = 16  # exchanges tried one by one before the search ends
_WORTHWHILE = 1e-4  # of the loss
_EXACT = 1e-24  # of ||b||^2: nothing is left to gain


@dataclass(frozen=True, kw_only=True)
class _Leaving:
    """What leaving means for each unit of a support: p_i = A `parts[:, i]`, ||p_i||^2, and the rise of the loss."""

    free: NDArray[np.bool_]
    parts: FloatArray
    square: FloatArray
    rise: FloatArray


@dataclass(frozen=True, kw_only=True)
class _Exchanges:
    """Positions in the support and the units that would take their places, the most promising first."""

    out: Positions
    units: Positions

    def at_once(self, count: int) -> "_Exchanges":
        return _Exchanges(out=self.out[:count], units=self.units[:count])

    def alone(self, number: int) -> "_Exchanges":
        return _Exchanges(out=self.out[[number]], units=self.units[[number]])

    def attempts(self) -> Iterator["_Exchanges"]:
        """Give the best eight at once, then four, two, then each alone."""
        count = _AT_ONCE
        while count > 1:
            if count < 2 * self.out.size:
                yield self.at_once(count)
            count //= 2
        for number in range(min(_ALONE, self.out.size)):
            yield self.alone(number)


def swap(
    matrix: sp.csc_array,
    goal: FloatArray,
    kept: Positions,
    weights: FloatArray,
    *,
    lower: FloatArray,
    upper: FloatArray,
    required: NDArray[np.bool_],
    refits: int = 400,
    should_stop: Callable[[], bool] = lambda: False,
) -> Pursuit:
    """Give as many units as came in, fitted, never worse than `weights` within the bounds; `required` ones stay.

    Ends where no exchange helps, or after `refits` fits. Cost of a round: k + some products with the matrix.

    >>> matrix = sp.csc_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> bounds = {"lower": np.zeros(3), "upper": np.full(3, np.inf), "required": np.zeros(3, dtype=bool)}
    >>> found = swap(matrix, np.array([2.0, 2.0]), np.array([0]), np.array([1.0]), **bounds)
    >>> found.kept.tolist(), found.weights.round(9).tolist()
    ([1], [2.0])
    """
    columns = Columns.of(matrix, goal, lower=lower, upper=upper, required=required)
    came = Support.empty(columns).plus(columns, kept, np.clip(weights, lower[kept], upper[kept]) * columns.length[kept])
    support = _better(columns, came, came.fitted(columns, columns.lower[kept]), least=0.0) or came
    while refits > 0 and not should_stop() and support.loss(goal) > _EXACT * float(goal @ goal):
        tried, found = _round(columns, support, refits)
        refits -= tried
        if found is None:
            break
        support = found
    return columns.pursuit(support)


def _round(columns: Columns, support: Support, refits: int) -> tuple[int, Support | None]:
    """Give how many fits were made, and the first of them that lowers the loss."""
    tried = 0
    for exchanges in _promising(columns, support).attempts():
        if tried == refits:
            break
        tried += 1
        found = _better(columns, support, _exchanged(columns, support, exchanges), least=_WORTHWHILE)
        if found is not None:
            return tried, found
    return tried, None


def _better(columns: Columns, before: Support, after: Support, *, least: float) -> Support | None:
    return after if after.loss(columns.goal) < (1 - least) * before.loss(columns.goal) else None


def _exchanged(columns: Columns, support: Support, exchanges: _Exchanges) -> Support:
    stays = np.ones(support.kept.size, dtype=bool)
    stays[exchanges.out] = False
    changed = support.only(stays).plus(columns, exchanges.units, columns.lower[exchanges.units])
    return changed.fitted(columns, columns.lower[changed.kept])


def _promising(columns: Columns, support: Support) -> _Exchanges:
    """Give at most one exchange for each unit, and for each that would come, by the fall of the loss foretold."""
    residual = support.residual(columns.goal)
    leaving = _leaving(columns, support, residual)
    count = max(_LEAVERS, _PAIRS // columns.length.size)
    out = np.argsort(leaving.rise, kind="stable")[:count]
    candidates = _candidates(columns, support, leaving, residual, out)
    best, fall = _best_to_come(columns.among(candidates), support, leaving, residual, out)
    ranked = np.argsort(-fall, kind="stable")
    ranked = ranked[fall[ranked] > _WORTHWHILE * float(residual @ residual)]
    first = np.sort(np.unique(best[ranked], return_index=True)[1])
    return _Exchanges(out=out[ranked[first]], units=candidates[best[ranked[first]]])


def _leaving(columns: Columns, support: Support, residual: FloatArray) -> _Leaving:
    kept, x = support.kept, support.x
    free = (x > columns.lower[kept]) & (x < columns.upper[kept]) & (support.gram.diagonal() > 0)
    inside, held = np.flatnonzero(free), np.flatnonzero(~free)
    inverse = la.cho_solve(factor(support.gram[np.ix_(inside, inside)]), np.eye(inside.size), check_finite=False)
    square, parts = support.gram.diagonal().copy(), np.zeros_like(support.gram)
    square[inside] = 1 / inverse.diagonal()
    parts[np.ix_(inside, inside)] = inverse * square[inside]
    across = support.gram[np.ix_(inside, held)]
    parts[np.ix_(inside, held)] = -inverse @ across
    parts[held, held] = 1.0
    square[held] -= np.einsum("fh,fh->h", across, inverse @ across)
    rise = x * (2 * (parts.T @ (support.columns @ residual)) + x * square)
    return _Leaving(free=free, parts=parts, square=square, rise=np.where(columns.required[kept], np.inf, rise))


def _candidates(
    columns: Columns, support: Support, leaving: _Leaving, residual: FloatArray, out: Positions
) -> Positions:
    """Give the units looked at: all that are not kept, or of many those pulled most once a unit has left."""
    open_ = np.ones(columns.length.size, dtype=np.bool_)
    open_[support.kept] = False
    if open_.sum() <= _FEW:
        return np.flatnonzero(open_)
    near = np.zeros_like(open_)
    for i in out:
        left = residual + support.x[i] * (support.columns.T @ leaving.parts[:, i])
        pull = np.where(open_, columns.along(left), -np.inf)
        near[np.argpartition(-pull, _NEAREST)[:_NEAREST]] = True
    return np.flatnonzero(near & open_)


def _best_to_come(
    columns: Columns, support: Support, leaving: _Leaving, residual: FloatArray, out: Positions
) -> tuple[Positions, FloatArray]:
    """Give for each unit that leaves the best of the candidates `columns`, and the fall of the loss."""
    pull, newness = columns.along(residual), _newness(columns, support, leaving)
    best, fall = np.zeros(out.size, dtype=np.intp), np.full(out.size, -np.inf)
    for chunk in _chunks(out.size if pull.size else 0):
        falls = _falls(columns, support, leaving, out[chunk], pull, newness)
        best[chunk], fall[chunk] = np.argmax(falls, axis=0), np.max(falls, axis=0)
    return best, fall


def _chunks(count: int) -> Iterator[slice]:
    return (slice(begin, begin + _BREADTH) for begin in range(0, count, _BREADTH))


def _newness(columns: Columns, support: Support, leaving: _Leaving) -> FloatArray:
    """Give ||P a_j||^2 for every unit: the square of what the free units do not span."""
    inside = np.flatnonzero(leaving.free)
    lower, _ = factor(support.gram[np.ix_(inside, inside)])
    basis = la.solve_triangular(lower, support.columns[inside].toarray(), lower=True, check_finite=False)
    newness = np.ones(columns.length.size)
    for chunk in _chunks(inside.size):
        newness -= np.sum(columns.along(basis[chunk].T) ** 2, axis=1)
    return np.maximum(newness, 0.0)


def _falls(
    columns: Columns, support: Support, leaving: _Leaving, out: Positions, pull: FloatArray, newness: FloatArray
) -> FloatArray:
    """Give the fall of the loss for every unit (row) in the place of each that leaves (column)."""
    along = columns.along(support.columns.T @ leaving.parts[:, out])
    freed = np.divide(1.0, leaving.square, out=np.zeros(leaving.square.size), where=leaving.free)
    square = newness[:, None] + along**2 * freed[out]
    left = pull[:, None] + along * support.x[out]
    return gains(left, square, columns.lower[:, None], columns.upper[:, None]) - leaving.rise[out]
