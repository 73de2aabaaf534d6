"""More units than the fit can use: those that share the weights of the others best, so that no weight stands out.

    minimise  1/2 ||A x - b||^2 + rho/2 ||x||^2   over  lower <= x <= upper

With a trace of a ridge rho the residual r is never 0, and x = clip(A'r / rho): a unit's pull a_j'r is the weight it
would take on. r is the minimum of a smooth convex function of Q numbers, found by Newton's method in Q x Q systems.
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp

from l0core.arrays import FloatArray
from l0core.calibration.support import Columns, Positions, Support

_RIDGE = 1e-6  # beside columns of length 1
_NEWTON_STEPS = 50
_HALVINGS = 30
_ARMIJO = 1e-4
_NEAR = 1e-10  # of ||b||
_SHARES = 60  # a sixtieth of what is missing comes at a time
_STEPS = 500  # but not less than this part of k


def filled(columns: Columns, support: Support, k: int, should_stop: Callable[[], bool]) -> Support:
    """Give the support with what is missing to `k` units, and weights that are shared; told to stop, all at once."""
    kept, residual = support.kept, support.residual(columns.goal)
    while kept.size < k:
        missing = k - kept.size
        residual = _shared(columns, kept, residual)
        pull = columns.along(residual)
        pull[kept] = -np.inf
        share = missing if should_stop() else min(missing, max(1, k // _STEPS, missing // _SHARES))
        kept = np.concatenate([kept, np.sort(np.argsort(-pull, kind="stable")[:share])])
    dual = _Dual(columns, kept)
    return Support.empty(columns).plus(columns, kept, dual.weights(_shared(columns, kept, residual)))


def _shared(columns: Columns, kept: Positions, residual: FloatArray) -> FloatArray:
    """Give the residual of the weights that are shared by the units `kept`, from a nearby one."""
    dual = _Dual(columns, kept)
    value = dual.value(residual)
    for _ in range(_NEWTON_STEPS):
        gradient = dual.gradient(residual)
        if float(gradient @ gradient) <= _NEAR**2 * float(columns.goal @ columns.goal):
            break
        step = -dual.newton(residual, gradient)
        found = _downhill(dual, residual, value, step, float(gradient @ step))
        if found is None:
            break
        residual, value = found
    return residual


def _downhill(
    dual: "_Dual", residual: FloatArray, value: float, step: FloatArray, slope: float
) -> tuple[FloatArray, float] | None:
    length = 1.0
    for _ in range(_HALVINGS):
        reached = dual.value(residual + length * step)
        if reached < value and reached <= value + _ARMIJO * length * slope:
            return residual + length * step, reached
        length /= 2
    return None


class _Dual:
    """The function of r whose minimum is the residual: r'r/2 - b'r + sum_j max_x (a_j'r x - rho x^2/2)."""

    def __init__(self, columns: Columns, kept: Positions) -> None:
        self._units, self._goal = columns.some(kept), columns.goal
        self._rows = sp.csr_array(self._units.T)
        self._lower, self._upper = columns.lower[kept], columns.upper[kept]

    def weights(self, r: FloatArray) -> FloatArray:
        return np.clip((self._units @ r) / _RIDGE, self._lower, self._upper)

    def value(self, r: FloatArray) -> float:
        x = self.weights(r)
        return float(r @ r / 2 - self._goal @ r + x @ (self._units @ r) - _RIDGE / 2 * (x @ x))

    def gradient(self, r: FloatArray) -> FloatArray:
        return np.asarray(r - self._goal + self._rows @ self.weights(r))

    def newton(self, r: FloatArray, gradient: FloatArray) -> FloatArray:
        """Give (1 + A A'/rho)^-1 times the gradient, A the columns whose weights lie on no bound."""
        x = self.weights(r)
        free = self._units[np.flatnonzero((x > self._lower) & (x < self._upper))]
        curved = (free.T @ free).toarray() / _RIDGE + np.eye(r.size)
        return np.asarray(la.solve(curved, gradient, assume_a="pos", check_finite=False))
