"""The weights of a frozen set of units, fitted exactly: a convex problem in float64, never worse than it began.

    minimise  sum_i omega_i loss(e_i) + sum_j ridge_j w_j^2     over the bounds and, where it is given, the sum

Where no ridge decides between equally good weights, those with the smallest sum of squares do (the largest Kish
effective sample size): a square so soft that the fit does not feel it. `interior` brings the solution near, `dual`
ends it on the bounds. Above `systems`' reach for a direct factorisation the dual is climbed alone, by conjugate
gradients, the fit pressed harder from stage to stage.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from l0core.arrays import FloatArray
from l0core.calibration import interior
from l0core.calibration.bounds import Bounds
from l0core.calibration.dual import Dual, Give, Nearness
from l0core.calibration.losses import SQUARED, CappedAbsolute, Loss
from l0core.calibration.systems import Both, System, system_for

_STIFFNESS = 1e6  # of the fit beside the smallest sum of squares, in relative units
_STIFFEST = 1e10  # what float64 bears
_STIFFER = (1e9, 1e12)  # where the targets can be met: exactly, then
_CAN_BE_MET = 1e-4  # residuals of this share of the goal or less
_STAGES = tuple(10.0**power for power in range(1, 12))
_STAGE_STEPS = 60
_WORTHWHILE = 1e-4  # a stage that lowers the loss of the one before by less than this share is the last
_POLISH = 10  # Newton steps to end on the bounds
_ROUNDED = 1e-6  # absolute errors below this are rounded off
_AT_THE_BOUND = 1e-6  # of the mean weight
_SAME = 1e-9  # of the goal: residuals this small are all as good as none
_ROUNDS = 6  # of giving up the targets past the cap
Stop = Callable[[], bool]


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class RefitProblem:
    """Columns of the kept units, the goal, and what the weights may be.

    Rows are as in `Objective`: times sqrt(omega_i) / scale_i. `omega` are the targets' weights (1 by default), `cost`
    the loss of an error, `ridge` the price of each squared weight (none by default).
    """

    matrix: sp.csr_array
    goal: FloatArray
    bounds: Bounds
    omega: FloatArray | None = None
    cost: Loss = SQUARED
    ridge: FloatArray | None = None

    def loss(self, weights: FloatArray) -> float:
        """Give what is minimised."""
        residual = self.matrix @ weights - self.goal
        omega = np.ones_like(residual) if self.omega is None else self.omega
        data = float((omega * self.cost.value(residual / np.sqrt(omega))).sum())
        return data + (0.0 if self.ridge is None else float(self.ridge @ weights**2))


def refit(problem: RefitProblem, start: FloatArray, *, stop: Stop = _never) -> FloatArray:
    """Give weights within the bounds, no worse than `start` projected onto them (to 1e-9 of it, or of the goal).

    Cost: some thirty factorisations of a Q x Q matrix, sparse where the rows share few units; 8 Q^2 bytes where it is
    dense. Above 8,000 rows that overlap conjugate gradients take their place. Where `stop` says so it ends early.

    >>> free = Bounds(lower=np.zeros(2), upper=np.array([2.0, np.inf]), always=np.arange(2))
    >>> one = RefitProblem(matrix=sp.csr_array([[1.0, 1.0]]), goal=np.array([6.0]), bounds=free)
    >>> refit(one, np.array([1.0, 1.0])).round(6).tolist()
    [2.0, 4.0]
    """
    start = problem.bounds.project(start)
    best, least = start, problem.loss(start)
    rounding = (_SAME * float(np.linalg.norm(problem.goal))) ** 2 if problem.cost is SQUARED else _SAME * least
    for weights in _candidates(problem, start, stop):
        loss = problem.loss(weights)
        if loss <= least or (best is start and loss <= rounding):
            best, least = weights, loss
        if stop():
            break
    return best


def row_forces(problem: RefitProblem, start: FloatArray, *, stop: Stop = _never) -> FloatArray:
    """Give how strongly each target pulls at the optimum of the absolute errors, from 0 to 1; 0 past the cap."""
    omega = np.ones(problem.goal.size) if problem.omega is None else problem.omega
    errors = (problem.matrix @ start - problem.goal) / np.sqrt(omega)
    cap = problem.cost.cap if isinstance(problem.cost, CappedAbsolute) else np.inf
    rows = np.flatnonzero(np.abs(errors) < cap)
    part = replace(problem, matrix=problem.matrix[rows], goal=problem.goal[rows], omega=omega[rows])
    forces = np.zeros(omega.size)
    forces[rows] = _Scaled.of(part, start, absolute=True).forces_of_rows(start, stop)
    return forces


def _candidates(problem: RefitProblem, start: FloatArray, stop: Stop) -> Iterator[FloatArray]:
    """Yield weights within the bounds; units that cannot move are taken out."""
    bounds = problem.bounds
    movable = np.flatnonzero(bounds.upper > bounds.lower)
    if not movable.size:
        return
    fixed = np.setdiff1d(np.arange(start.size), movable)
    taken = float(start[fixed].sum())
    inner = replace(
        problem,
        matrix=sp.csr_array(problem.matrix[:, movable]),
        goal=problem.goal - problem.matrix[:, fixed] @ start[fixed],
        bounds=replace(bounds.of(movable), mass=None if bounds.mass is None else bounds.mass - taken),
        ridge=None if problem.ridge is None else problem.ridge[movable],
    )
    for found in _solutions(inner, start[movable], stop):
        weights = start.copy()
        weights[movable] = inner.bounds.project(found)
        yield weights


def _solutions(problem: RefitProblem, start: FloatArray, stop: Stop) -> Iterator[FloatArray]:
    if isinstance(problem.cost, CappedAbsolute):
        yield from _capped(problem, problem.cost, start, stop)
    else:
        yield from _Scaled.of(problem, start, absolute=False).solutions(start, stop)


def _capped(problem: RefitProblem, cost: CappedAbsolute, start: FloatArray, stop: Stop) -> Iterator[FloatArray]:
    """Yield fits of the absolute errors: of all targets, then of those below the cap, until these stay the same.

    A target past the cap costs the same wherever it lies, so that it is left out; each round is no worse.
    """
    omega = np.ones(problem.goal.size) if problem.omega is None else problem.omega
    seen: set[bytes] = set()
    for at in (None, start):
        weights = at
        for _ in range(_ROUNDS):
            below = np.ones(omega.size, np.bool_)
            if weights is not None:
                errors = (problem.matrix @ weights - problem.goal) / np.sqrt(omega)
                below = np.abs(errors) < cost.cap
            if below.tobytes() in seen or not below.any() or stop():
                break
            seen.add(below.tobytes())
            rows = np.flatnonzero(below)
            part = replace(problem, matrix=problem.matrix[rows], goal=problem.goal[rows], omega=omega[rows])
            for found in _Scaled.of(part, start, absolute=True).solutions(start, stop):
                weights = problem.bounds.project(found)
                yield weights


@dataclass(frozen=True, kw_only=True)
class _Scaled:
    """The same problem in weights counted in units of their mean and rows in units of their typical size."""

    matrix: Both
    goal: FloatArray
    units: Nearness
    give: Give
    unit: float
    rows: int
    stages: tuple[float, ...]

    @classmethod
    def of(cls, problem: RefitProblem, start: FloatArray, *, absolute: bool) -> "_Scaled":
        unit, k = _mean_weight(start), start.size
        omega = np.ones(problem.goal.size) if problem.omega is None else problem.omega
        rows = sp.csr_array(sp.diags_array(1 / np.sqrt(omega)) @ problem.matrix) if absolute else problem.matrix
        goal = problem.goal / np.sqrt(omega) if absolute else problem.goal
        size = _size(rows, goal, unit, k)
        price, give = _prices(problem.ridge, k, unit, size)
        law = _law(omega, price, size, absolute=absolute)
        scaled, goal, law = _with_mass(rows * (unit / size), goal / size, law, problem.bounds.mass, unit)
        return cls(
            matrix=Both.of(scaled),
            goal=goal,
            units=Nearness(
                give=give,
                centre=np.zeros(k),
                lower=problem.bounds.lower / unit,
                upper=problem.bounds.upper / unit,
            ),
            give=law,
            unit=unit,
            rows=problem.goal.size,
            stages=_STIFFER if problem.ridge is None and not absolute else (),
        )

    def forces_of_rows(self, start: FloatArray, stop: Stop) -> FloatArray:
        """Give each row's force at the optimum as a share of the largest it may have (absolute errors)."""
        forces = interior.solve(
            self.matrix, self.goal, self.units, self.give, start / self.unit, system_for(self.matrix), stop=stop
        )[1]
        return np.asarray((forces / self.give.reach)[: self.rows])

    def solutions(self, start: FloatArray, stop: Stop) -> Iterator[FloatArray]:
        """Yield weights, better from one to the next in general."""
        system = system_for(self.matrix)
        if not system.exact:
            yield from self._by_stages(system, stop)
            return
        inner, forces = interior.solve(
            self.matrix, self.goal, self.units, self.give, start / self.unit, system, stop=stop
        )
        yield self._on_the_bounds(inner, forces) * self.unit
        dual = Dual(self.matrix, self.goal, self.units, system=system)
        forces = dual.maximise(forces, self.give, steps=_POLISH)
        yield dual.weights(forces) * self.unit
        for stiffness in self.stages if self._is_met(dual.weights(forces)) else ():
            forces = dual.maximise(forces, self._stiff(stiffness), steps=_POLISH)
            yield dual.weights(forces) * self.unit

    def _by_stages(self, system: System, stop: Stop) -> Iterator[FloatArray]:
        """Yield the solution of each stiffness, until one falls no further than the one before."""
        dual, forces, before = Dual(self.matrix, self.goal, self.units, system=system), np.zeros_like(self.goal), np.inf
        final = float(1 / self.give.softness[0])
        for stiffness in (*(stage for stage in _STAGES if stage < final), final):
            forces = dual.maximise(forces, self._stiff(stiffness), steps=_STAGE_STEPS)
            weights = dual.weights(forces)
            yield weights * self.unit
            residual = (self.matrix.rows @ weights - self.goal)[: self.rows]
            if stop() or residual @ residual >= (1 - _WORTHWHILE) * before:
                return
            before = float(residual @ residual)

    def _stiff(self, stiffness: float) -> Give:
        factor = stiffness * self.give.softness[0]
        return Give(softness=self.give.softness / factor, reach=self.give.reach * factor)

    def _is_met(self, weights: FloatArray) -> bool:
        residual = (self.matrix.rows @ weights - self.goal)[: self.rows]
        return float(np.abs(residual).max()) <= _CAN_BE_MET * float(np.abs(self.goal).max())

    def _on_the_bounds(self, inner: FloatArray, forces: FloatArray) -> FloatArray:
        """Give weights inside the bounds as they are, or at the bound they came near and are pulled to."""
        pulled = self.units.at(self.matrix.columns @ forces)
        near = np.abs(inner - pulled) <= _AT_THE_BOUND
        held = (pulled == self.units.lower) | (pulled == self.units.upper)
        return np.where(near & held, pulled, inner)


def _prices(ridge: FloatArray | None, k: int, unit: float, size: float) -> tuple[float, FloatArray]:
    """Give what twice the loss is multiplied with, and what the units then give: k in the mean.

    With no ridge the loss counts so much that the sum of squares only decides between equally good weights.
    """
    if ridge is None:
        return _STIFFNESS / size**2, np.full(k, float(k))
    curvature = ridge * unit**2
    mean = float(curvature.mean())
    return min(1 / (k * mean), _STIFFEST / size**2), k * mean / curvature


def _law(omega: FloatArray, price: float, size: float, *, absolute: bool) -> Give:
    """Give price e^2 / 2 for every row, or price omega |e|, in rows of this size."""
    if not absolute:
        return Give.squares(omega.size, price * size**2)
    reach = omega * (price * size / 2)
    return Give(softness=_ROUNDED / (size * reach), reach=reach)


def _with_mass(
    rows: sp.csr_array, goal: FloatArray, law: Give, mass: float | None, unit: float
) -> tuple[sp.csr_array, FloatArray, Give]:
    """Add the sum of the weights as a row that does not yield."""
    if mass is None:
        return sp.csr_array(rows), goal, law
    k = rows.shape[1]
    total = sp.csr_array(np.full((1, k), 1 / k))
    return (
        sp.csr_array(sp.vstack([rows, total])),
        np.append(goal, mass / (k * unit)),
        Give(softness=np.append(law.softness, 0.0), reach=np.append(law.reach, np.inf)),
    )


def _size(rows: sp.csr_array, goal: FloatArray, unit: float, k: int) -> float:
    """Give the typical size of a row: the root mean square of the goal, or of A times the mean weight."""
    sizes = (float(np.sqrt(np.mean(values**2))) for values in (goal, rows @ np.full(k, unit)))
    return next((size for size in sizes if size > 0), 1.0)


def _mean_weight(weights: FloatArray) -> float:
    mean = float(weights.mean())
    return mean if mean > 0 else 1.0
