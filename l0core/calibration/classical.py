"""Classical calibration: the weights nearest to the design weights that meet every total exactly.

    minimise  sum_j d_j G(w_j / d_j)     over  M w = y  and, where bounds are given,  lower <= w_j / d_j <= upper

Deville and Sarndal, Calibration estimators in survey sampling, JASA 87 (1992). `linear`: G(g) = (g - 1)^2 / 2 (GREG,
truncated where bounds are given); `raking`: g log g - g + 1 (multiplicative: iterated proportional fitting on
margins); `logit`: between two bounds that no weight reaches. All units are kept. Solved by Newton's method on the dual,
whose Q unknowns are the multipliers of the totals.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from l0core import arrays, matrices
from l0core.arrays import Axis, FloatArray
from l0core.calibration import interior
from l0core.calibration.dual import Dual, Give, Nearness, Units
from l0core.calibration.systems import Both, system_for
from l0core.errors import InfeasibleTargets, InvalidHyperparameter

Distance = Literal["linear", "raking", "logit"]
_MET = 1e-9  # of the total's size
_STEEPEST = 300.0  # a multiplier times a unit's entries: its exponential is a float still
_STAGES = tuple(10.0**power for power in range(1, 9))
_WORTHWHILE = 1e-4  # a stage that comes no nearer than by this share is the last
_SOFT = 1e-8  # of rows that yield a little, from which exact ones are begun where Newton's method stalls


@dataclass(frozen=True, kw_only=True)
class Raking:
    """phi(x) = x log(x / d) - x + d, within bounds."""

    design: FloatArray
    lower: FloatArray
    upper: FloatArray

    def at(self, pull: FloatArray) -> FloatArray:
        """Give clip(d exp(pull), lower, upper)."""
        return np.clip(self.design * np.exp(np.clip(pull, -_STEEPEST, _STEEPEST)), self.lower, self.upper)

    def slope(self, weights: FloatArray) -> FloatArray:
        """Give the weights inside the bounds."""
        return np.where((weights > self.lower) & (weights < self.upper), weights, 0.0)

    def cost(self, weights: FloatArray) -> float:
        """Give the sum."""
        ratio = np.maximum(weights / self.design, np.finfo(np.float64).tiny)
        return float((weights * np.log(ratio) - weights + self.design).sum())


@dataclass(frozen=True, kw_only=True)
class Logit:
    """The logit distance between `low` d and `high` d, low < 1 < high (Deville and Sarndal 1992, case 6)."""

    design: FloatArray
    low: float
    high: float

    @property
    def _steepness(self) -> float:
        return (self.high - self.low) / ((1 - self.low) * (self.high - 1))

    def at(self, pull: FloatArray) -> FloatArray:
        """Give d (L (U - 1) + U (1 - L) exp(A pull)) / (U - 1 + (1 - L) exp(A pull))."""
        away = np.exp(-np.abs(np.clip(self._steepness * pull, -_STEEPEST, _STEEPEST)))
        rising, falling = np.where(pull > 0, 1.0, away), np.where(pull > 0, away, 1.0)
        below, above = (self.high - 1) * falling, (1 - self.low) * rising
        ratio = (self.low * below + self.high * above) / (below + above)
        return np.clip(self.design * ratio, self.low * self.design, self.high * self.design)

    def slope(self, weights: FloatArray) -> FloatArray:
        """Give A (w - L d)(U d - w) / ((U - L) d)."""
        room = (weights - self.low * self.design) * (self.high * self.design - weights)
        return np.asarray(self._steepness * room / ((self.high - self.low) * self.design))

    def cost(self, weights: FloatArray) -> float:
        """Give sum_j d ((g - L) log((g - L) / (1 - L)) + (U - g) log((U - g) / (U - 1))) / A."""
        ratio = weights / self.design
        parts = _entropy(ratio - self.low, 1 - self.low) + _entropy(self.high - ratio, self.high - 1)
        return float((self.design * parts).sum() / self._steepness)


def _entropy(room: FloatArray, whole: float) -> FloatArray:
    room = np.maximum(room, 0.0)
    return np.asarray(room * np.log(np.maximum(room, np.finfo(np.float64).tiny) / whole))


def calibrate_weights(
    matrix: object,
    targets: ArrayLike,
    design_weights: ArrayLike,
    *,
    distance: Distance = "linear",
    lower_ratio: float | None = 0.0,
    upper_ratio: float = np.inf,
) -> FloatArray:
    """Give the N weights nearest to `design_weights` (N, > 0) whose totals under `matrix` (Q x N) are `targets` (Q).

    `lower_ratio` and `upper_ratio` bound w/d; None for the lower leaves linear weights free to be negative, as GREG's
    are. `logit` needs lower < 1 < upper, both finite. Raises InfeasibleTargets, which names the total that is missed
    most, where no such weights exist; InvalidInput and InvalidHyperparameter for what cannot be used.

    >>> calibrate_weights([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [30.0, 8.0], [10.0, 10.0, 10.0]).round(9).tolist()
    [15.0, 15.0, 8.0]
    """
    rows, _ = matrices.canonical(matrices.parts(matrix))
    q, n = rows.shape
    goal = arrays.vector(targets, name="targets", axis=Axis(length=q, noun="rows of the matrix"))
    units = Axis(length=n, noun="columns of the matrix")
    design = arrays.vector(
        design_weights, name="design_weights", axis=units, rule=lambda d: d > 0, need="must be above 0"
    )
    return nearest(rows, goal, Near.by_ratios(distance, design, lower_ratio, upper_ratio))


@dataclass(frozen=True, kw_only=True)
class Near:
    """What the weights shall be near to, in which sense, and within which bounds."""

    distance: Distance
    design: FloatArray
    lower: FloatArray
    upper: FloatArray
    ratios: tuple[float, float]

    @classmethod
    def by_ratios(cls, distance: Distance, design: FloatArray, low: float | None, high: float) -> "Near":
        """Bound w/d alone."""
        lower = np.full(design.size, -np.inf) if low is None else low * design
        upper = np.full(design.size, np.inf) if np.isinf(high) else high * design
        return cls(
            distance=distance,
            design=design,
            lower=lower,
            upper=upper,
            ratios=(-np.inf if low is None else low, high),
        )

    def units(self, unit: float) -> Units:
        """Give the cost of weights that are counted in units of `unit`."""
        design, lower, upper = self.design / unit, self.lower / unit, self.upper / unit
        if self.distance == "linear":
            return Nearness(give=design, centre=design, lower=lower, upper=upper)
        if self.distance == "raking":
            return Raking(design=design, lower=np.maximum(lower, 0.0), upper=upper)
        return Logit(design=design, low=self.ratios[0], high=self.ratios[1])

    def __post_init__(self) -> None:
        low, high = self.ratios
        if not low <= high:
            raise InvalidHyperparameter(f"the lower bound of w/d, {low:g}, is above the upper, {high:g}")
        if self.distance == "logit" and not 0 <= low < 1 < high < np.inf:
            raise InvalidHyperparameter(
                f"the logit distance needs bounds of w/d around 1, and they are {low:g} and {high:g}: give "
                "min_weight_ratio below 1 and max_weight_ratio above it",
                pointer="/hyperparameters/max_weight_ratio",
            )


def nearest(
    rows: sp.csr_array, goal: FloatArray, near: Near, *, stop: Callable[[], bool] = lambda: False
) -> FloatArray:
    """Give the weights of least distance that meet `goal` exactly; raises InfeasibleTargets where there are none."""
    unit = float(near.design.mean())
    size = np.maximum(np.abs(goal), abs(rows) @ near.design)
    size[size == 0] = 1.0
    scaled, aim, units = Both.of(sp.csr_array(sp.diags_array(unit / size) @ rows)), goal / size, near.units(unit)
    weights = np.clip(_met(scaled, aim, units, stop) * unit, near.lower, near.upper)
    missed = np.abs(rows @ weights - goal) / size
    if missed.max(initial=0.0) > _MET:
        raise _infeasible(int(np.argmax(missed)), goal, rows @ weights)
    return weights


def nearest_possible(
    rows: sp.csr_array,
    goal: FloatArray,
    near: Near,
    *,
    mass: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> FloatArray:
    """Give the weights that come as near to `goal` as any, in squares, and of those the nearest to the design weights.

    The totals are pressed harder from stage to stage, each begun where the last one ended, until they come no nearer;
    `mass`, a sum of the weights, is met at each.
    """
    unit, q = float(near.design.mean()), goal.size
    size = float(np.sqrt(np.mean(goal**2))) or 1.0
    scaled, aim, softness = rows * (unit / size), goal / size, np.ones(q)
    if mass is not None:
        total = sp.csr_array(np.full((1, rows.shape[1]), unit / mass))
        scaled, aim, softness = sp.vstack([scaled, total]), np.append(aim, 1.0), np.append(softness, 0.0)
    dual = Dual(Both.of(sp.csr_array(scaled)), aim, near.units(unit))
    forces, least = np.zeros(aim.size), np.inf
    for stiffness in _STAGES:
        forces = dual.maximise(forces, Give(softness=softness / stiffness, reach=np.full(aim.size, np.inf)))
        weights = np.clip(dual.weights(forces) * unit, near.lower, near.upper)
        loss = float(((rows @ weights - goal) ** 2).sum())
        if stop() or loss >= (1 - _WORTHWHILE) * least:
            break
        least = loss
    return weights


def _met(matrix: Both, goal: FloatArray, units: Units, stop: Callable[[], bool]) -> FloatArray:
    """Give weights that meet the goal where Newton's method finds them, from scratch or from inside the bounds."""
    system = system_for(matrix)
    dual = Dual(matrix, goal, units, system=system)
    exact = Give(softness=np.zeros(goal.size), reach=np.full(goal.size, np.inf))
    weights = dual.weights(dual.maximise(np.zeros(goal.size), exact))
    missed = float(np.abs(matrix.rows @ weights - goal).max(initial=0.0))
    if missed <= _MET / 10 or not isinstance(units, Nearness) or stop():
        return weights
    soft = Give(softness=np.full(goal.size, _SOFT), reach=exact.reach)
    _, forces = interior.solve(matrix, goal, units, soft, units.centre, system, stop=stop)
    return dual.weights(dual.maximise(forces, exact))


def _infeasible(worst: int, goal: FloatArray, reached: FloatArray) -> InfeasibleTargets:
    return InfeasibleTargets(
        f"no weights within the bounds meet all totals: the nearest found give {reached[worst]:g} for total {worst}, "
        f"which is {goal[worst]:g}: widen the bounds, or leave out totals that contradict one another",
        target=worst,
        wanted=float(goal[worst]),
        reached=float(reached[worst]),
    )
