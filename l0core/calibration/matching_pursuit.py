"""Selection by matching pursuit: exactly k units, each chosen for what it takes off the loss beside those before it.

    minimise  ||A w - b||^2   over  lower_j <= w_j <= upper_j for k units, w_j = 0 for the others

Orthogonal least squares (Chen, Billings and Luo 1989) with non-negative weights: a unit's worth is the fall of the
loss once all weights are refitted, (a_j'r)^2 / ||P a_j||^2 with r the residual and P the projection off the units that
are kept, rather than the correlation (a_j'r)^2 / ||a_j||^2 of plain orthogonal matching pursuit (Pati, Rezaiifar and
Krishnaprasad 1993). Both r'a_j and ||P a_j||^2 are brought up to date for all units by one product with the matrix for
each unit that is added. Units whose weight falls to 0 leave and may return. Read `swaps` next.
"""

from collections.abc import Callable
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.sharing import filled
from l0core.calibration.support import Columns, Complement, Positions, Pursuit, Support, gains
from l0core.errors import InfeasibleBudget

_STEPS = 50  # refits on the way to k units: each adds k / 50
_ADDITIONS = 3  # times k, and then what is missing is filled up: units may come and go
_LEAST_GAIN = 1e-9  # of the loss
_LEAST_PULL = 1e-10  # of ||b||: a correlation as small as this is rounding


def pursue(
    matrix: sp.csc_array,
    goal: FloatArray,
    k: int,
    *,
    lower: FloatArray,
    upper: FloatArray,
    required: NDArray[np.bool_],
    should_stop: Callable[[], bool] = lambda: False,
    report: Callable[[int, float], None] = lambda _kept, _loss: None,
) -> Pursuit:
    """Give exactly `k` units and their weights between `lower` and `upper`, those that are `required` among them.

    `report(units so far, loss)` and `should_stop` are called some hundred times; told to stop, it fills up what is
    missing unchosen. Cost: k products with the matrix, and some hundreds of k x k factorisations. Ties go to the first.

    >>> matrix = sp.csc_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> bounds = {"lower": np.zeros(3), "upper": np.full(3, np.inf), "required": np.zeros(3, dtype=bool)}
    >>> found = pursue(matrix, np.array([2.0, 2.0]), 1, **bounds)
    >>> found.kept.tolist(), found.weights.round(9).tolist()
    ([1], [2.0])
    """
    columns = Columns.of(matrix, goal, lower=lower, upper=upper, required=required)
    _check(k, required)
    search = _Search.start(columns)
    block, additions = max(1, k // _STEPS), _ADDITIONS * k
    while search.support.kept.size < k and additions > 0 and not should_stop():
        chosen = search.choose(min(block, k - search.support.kept.size))
        if not chosen.size:
            break
        search.refit_with(chosen)
        additions -= chosen.size
        report(search.support.kept.size, search.loss)
    support = search.support
    if support.kept.size < k:
        support = filled(columns, support, k, should_stop)
    return columns.pursuit(support.fitted(columns, columns.lower[support.kept]))


def _check(k: int, required: NDArray[np.bool_]) -> None:
    needed = int(required.sum())
    if not needed <= k <= required.size:
        raise InfeasibleBudget(
            f"k is {k}; {needed} units are required and there are {required.size}: ask for {needed} to {required.size}",
            budget=k,
            available=required.size,
        )


class _Search:
    """The support, the residual, and every unit's newness: how much of its column (squared) lies beyond the support."""

    def __init__(self, columns: Columns, support: Support, newness: FloatArray) -> None:
        self._columns, self._newness, self._none = columns, newness, np.zeros(newness.size)
        self._fit(support)

    @classmethod
    def start(cls, columns: Columns) -> Self:
        kept = np.flatnonzero(columns.required)
        nothing = Support.empty(columns)
        newness = 1.0 - _spanned(columns, Complement(nothing), kept)
        return cls(columns, nothing.plus(columns, kept, columns.lower[kept]), newness)

    @property
    def loss(self) -> float:
        return float(self._residual @ self._residual)

    def choose(self, count: int) -> Positions:
        """Give up to `count` units, each the best beside those before it."""
        columns, chosen = self._columns, list[int]()
        complement, residual = Complement(self.support), self._residual
        pull, open_ = columns.along(residual), np.ones(self._newness.size, dtype=bool)
        open_[self.support.kept] = False
        enough = max(_LEAST_GAIN * self.loss, float(_LEAST_PULL**2 * (columns.goal @ columns.goal)))
        while len(chosen) < count:
            worth = np.where(open_ & (pull > 0), gains(pull, self._newness, self._none, columns.upper), 0.0)
            best = int(np.argmax(worth))
            if worth[best] <= enough:
                break
            chosen.append(best)
            open_[best] = False
            direction = complement.take(columns.one(best))
            if direction is None:  # what it is worth only a fit can say
                break
            along = columns.along(direction)
            pull -= along * float(direction @ residual)
            self._newness -= along**2
        return np.array(chosen, dtype=np.intp)

    def refit_with(self, units: Positions) -> None:
        """Add units, fit, and let those go whose weight became 0."""
        self._fit(self.support.plus(self._columns, units))

    def _fit(self, support: Support) -> None:
        columns = self._columns
        floor = np.where(columns.required[support.kept], columns.lower[support.kept], 0.0)
        fitted = support.fitted(columns, floor)
        stays = (fitted.x > 0) | columns.required[fitted.kept]
        self.support = fitted.only(stays)
        self._residual = self.support.residual(columns.goal)
        if not stays.all():
            self._newness += _spanned(columns, Complement(self.support), fitted.kept[~stays])


def _spanned(columns: Columns, complement: Complement, units: Positions) -> FloatArray:
    """Give how much of every unit's column these units span beyond the complement's own support."""
    spanned = np.zeros(columns.length.size)
    for unit in units:
        direction = complement.take(columns.one(int(unit)))
        if direction is not None:
            spanned += columns.along(direction) ** 2
    return spanned
