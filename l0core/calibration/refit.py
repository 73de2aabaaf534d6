"""The weights of a frozen set of units, fitted exactly: a convex problem, solved through its dual in float64.

For columns A of the kept units, scaled so that a weight of 1 is the mean, each stage solves

    minimise  1/(2k) sum_j x_j^2  +  C/2 ||A x - b||^2     over  lower <= x <= upper

whose solution is x(v) = clip(k A'v, lower, upper) at the maximum of a concave piecewise quadratic function of Q dual
numbers v. Newton's method with a line search finds that maximum in a few Q x Q systems. C grows from stage to stage,
each started where the last one ended, until the loss stops falling: the fit comes first, and among equally good fits
the one with the smallest sum of squared weights (the largest Kish effective sample size). A finite C keeps the dual
bounded where the targets cannot be met together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from l0core.arrays import FloatArray
from l0core.calibration.kernels.gram import add_products

_FIRST_STIFFNESS = 10.0
_STIFFNESS_FACTOR = 10.0
_STAGES = 12
_NEWTON_STEPS = 60
_HALVINGS = 40
_ARMIJO = 1e-4
_GRADIENT_TOLERANCE = 1e-11
_SAME = 1e-9  # of the goal: residuals this small are all as good as none
_RIDGE = 1e-14  # of the trace of the curvature: the least that keeps it positive definite in float64
_MOST_DIRECT = 8_000  # rows: half a gigabyte, and 0.17 10^12 operations a step
_NEAR, _ITERATIONS = 1e-8, 500  # of a Newton step by conjugate gradients
_WORTHWHILE = 1e-4  # a stage that lowers the loss of the one before by less than this share is the last


@dataclass(frozen=True, kw_only=True)
class RefitProblem:
    """Columns of the kept units, the goal, and bounds on each weight (`upper` may be infinite)."""

    matrix: sp.csr_array
    goal: FloatArray
    lower: FloatArray
    upper: FloatArray

    def loss(self, weights: FloatArray) -> float:
        """Give ||A w - b||^2."""
        residual = self.matrix @ weights - self.goal
        return float(residual @ residual)


def refit(problem: RefitProblem, start: FloatArray) -> FloatArray:
    """Give weights within the bounds, no worse in loss than `start` projected onto them (to 1e-9 of the goal).

    Cost: some tens of sparse products and Q x Q factorisations, in place: 8 Q^2 bytes beside the kept columns. Above
    8,000 rows conjugate gradients take their place, which need no such matrix.

    >>> one = RefitProblem(matrix=sp.csr_array([[1.0, 1.0]]), goal=np.array([6.0]), lower=np.zeros(2),
    ...                    upper=np.array([2.0, np.inf]))
    >>> refit(one, np.array([1.0, 1.0])).round(6).tolist()
    [2.0, 4.0]
    """
    start = np.clip(start, problem.lower, problem.upper)
    candidates = list(_stages(problem, start))
    losses = [problem.loss(weights) for weights in candidates]
    best = int(np.argmin(losses))
    rounding = (_SAME * float(np.linalg.norm(problem.goal))) ** 2
    return candidates[best] if losses[best] <= max(problem.loss(start), rounding) else start


def _stages(problem: RefitProblem, start: FloatArray) -> Iterator[FloatArray]:
    """Yield the solution of each stiffness, until one falls no further than the one before."""
    unit = _mean_weight(start)
    dual = _Dual(problem, unit)
    v, before = np.zeros(problem.goal.size), np.inf
    for stage in range(_STAGES):
        v = dual.maximise(v, _FIRST_STIFFNESS * _STIFFNESS_FACTOR**stage)
        weights = np.clip(dual.primal(v) * unit, problem.lower, problem.upper)
        yield weights
        loss = problem.loss(weights)
        if loss >= (1 - _WORTHWHILE) * before:
            return
        before = loss


def _size(problem: RefitProblem, unit: float) -> float:
    """Give the typical size of a row: the root mean square of the goal, or of A times the mean weight."""
    at_mean = problem.matrix @ np.full(problem.lower.size, unit)
    sizes = (float(np.sqrt(np.mean(values**2))) for values in (problem.goal, at_mean))
    return next((size for size in sizes if size > 0), 1.0)


def _mean_weight(weights: FloatArray) -> float:
    mean = float(weights.mean())
    return mean if mean > 0 else 1.0


class _Dual:
    """The concave dual of one refit, in weights counted in units of their mean."""

    def __init__(self, problem: RefitProblem, unit: float) -> None:
        size = _size(problem, unit)  # of a row: stiffness then means the same whatever the targets are counted in
        self._rows = sp.csr_array(problem.matrix * (unit / size))
        self._columns = sp.csr_array(self._rows.T)
        self._goal = problem.goal / size
        self._lower, self._upper = problem.lower / unit, problem.upper / unit
        self._k = problem.lower.size

    def primal(self, v: FloatArray) -> FloatArray:
        """Give x(v) = clip(k A'v, lower, upper)."""
        return np.asarray(np.clip(self._k * (self._columns @ v), self._lower, self._upper))

    def maximise(self, v: FloatArray, stiffness: float) -> FloatArray:
        """Climb from `v` to the maximum for this stiffness C."""
        value = self._value(v, stiffness)
        for _ in range(_NEWTON_STEPS):
            gradient = self._gradient(v, stiffness)
            if np.abs(gradient).max() <= _GRADIENT_TOLERANCE * (1 + np.abs(self._goal).max()):
                break
            step = self._newton_step(v, gradient, stiffness)
            v_new, value_new = self._line_search(v, value, step, float(gradient @ step), stiffness)
            if value_new <= value:
                break
            v, value = v_new, value_new
        return v

    def _value(self, v: FloatArray, stiffness: float) -> float:
        x = self.primal(v)
        pull = self._columns @ v
        return float(v @ self._goal - (v @ v) / (2 * stiffness) - pull @ x + (x @ x) / (2 * self._k))

    def _gradient(self, v: FloatArray, stiffness: float) -> FloatArray:
        return np.asarray(self._goal - v / stiffness - self._rows @ self.primal(v))

    def _newton_step(self, v: FloatArray, gradient: FloatArray, stiffness: float) -> FloatArray:
        free = np.flatnonzero(self._free(v))
        if gradient.size > _MOST_DIRECT:
            return self._iterated_step(free, gradient, stiffness)
        ridge = 0.0
        while True:
            curvature, trace = self._curvature(free)
            ridge = max(1 / stiffness, _RIDGE * trace, 100 * ridge)
            curvature[np.diag_indices_from(curvature)] += ridge
            try:
                factor = la.cho_factor(curvature, lower=True, overwrite_a=True)
            except la.LinAlgError:  # rows that depend on one another: a little more ridge only shortens the step
                continue
            return np.asarray(la.cho_solve(factor, gradient))

    def _curvature(self, free: NDArray[np.intp]) -> tuple[FloatArray, float]:
        """Give the lower triangle of k A A' over the free units, laid out to be factored in place, and its trace."""
        curvature = np.zeros((self._goal.size,) * 2, order="F")
        columns = self._columns
        add_products(columns.indptr, columns.indices, columns.data, free, float(self._k), curvature)
        return curvature, float(curvature.trace())

    def _iterated_step(self, free: NDArray[np.intp], gradient: FloatArray, stiffness: float) -> FloatArray:
        """Give the step by conjugate gradients: no Q x Q matrix, and near enough for Newton's method to go on."""
        columns, rows = self._columns[free], self._rows[:, free]
        diagonal = self._k * np.asarray(rows.multiply(rows).sum(axis=1)).ravel() + 1 / stiffness

        def curved(v: FloatArray) -> FloatArray:
            return np.asarray(self._k * (rows @ (columns @ v)) + v / stiffness)

        shape = (gradient.size,) * 2
        step, _ = cg(
            LinearOperator(shape, matvec=curved),
            gradient,
            rtol=_NEAR,
            maxiter=_ITERATIONS,
            M=LinearOperator(shape, matvec=lambda v: v / diagonal),
        )
        return np.asarray(step)

    def _free(self, v: FloatArray) -> NDArray[np.bool_]:
        x = self._k * (self._columns @ v)
        return np.asarray((x > self._lower) & (x < self._upper))

    def _line_search(
        self, v: FloatArray, value: float, step: FloatArray, slope: float, stiffness: float
    ) -> tuple[FloatArray, float]:
        length = 1.0
        for _ in range(_HALVINGS):
            candidate = v + length * step
            reached = self._value(candidate, stiffness)
            if reached >= value + _ARMIJO * length * slope:
                return candidate, reached
            length /= 2
        return v, value
