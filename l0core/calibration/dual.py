"""Convex fits of weights through their dual: as many unknowns as targets, found by Newton's method in float64.

    minimise  sum_j phi_j(x_j) + sum_i psi_i(b_i - a_i x)     over lower <= x <= upper

Row i pulls at the units with a force v_i. Under the forces v unit j takes the weight x_j(v) that minimises
phi_j(x) - (A'v)_j x, and v is right where the concave function

    v'b - sum_j (x_j (A'v)_j - phi_j(x_j)) - sum_i softness_i v_i^2 / 2      over |v_i| <= reach_i

is largest. `Give` says how rows yield: softness 1/C without an end to the force is the square C r^2 / 2 of a residual;
a force that ends at `reach` is C |r|, rounded off near 0 by the softness; softness 0 is a row to be met exactly.
`systems` solves the Q x Q systems of the steps.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from l0core.arrays import FloatArray
from l0core.calibration.systems import Both, System, system_for

_NEWTON_STEPS = 100
_HALVINGS = 40
_ARMIJO = 1e-4
_GRADIENT_TOLERANCE = 1e-11  # of the largest goal
_STILL_FALLING = 0.5  # of the steepest slope: a step that leaves more no longer nears the top
_SHORT, _MORE, _DAMPED = 0.1, 10.0, 1e-6  # a shorter step is damped more, from this share of the mean curvature on
_TINY = 1e-30
_HELD = 1e30  # softness of a row that stays where it is during a step


class Units(Protocol):
    """What weights cost: phi_j and the bounds, for all units at once."""

    def at(self, pull: FloatArray) -> FloatArray:
        """Give x_j, the weight each unit takes under its pull."""
        ...

    def slope(self, weights: FloatArray) -> FloatArray:
        """Give dx_j / dpull_j where the weights are these: 0 where a bound holds."""
        ...

    def cost(self, weights: FloatArray) -> float:
        """Give sum_j phi_j(x_j)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """phi_j(x) = (x - centre_j)^2 / (2 give_j), within bounds: the farther, the dearer."""

    give: FloatArray
    centre: FloatArray
    lower: FloatArray
    upper: FloatArray

    def at(self, pull: FloatArray) -> FloatArray:
        """Give clip(centre + give pull, lower, upper)."""
        return np.clip(self.centre + self.give * pull, self.lower, self.upper)

    def slope(self, weights: FloatArray) -> FloatArray:
        """Give `give` inside the bounds."""
        return np.where((weights > self.lower) & (weights < self.upper), self.give, 0.0)

    def cost(self, weights: FloatArray) -> float:
        """Give the sum."""
        return float(((weights - self.centre) ** 2 / (2 * self.give)).sum())


@dataclass(frozen=True, kw_only=True)
class Give:
    """How each row yields: a residual of `softness` a unit of force, of forces up to `reach` (may be infinite)."""

    softness: FloatArray
    reach: FloatArray

    @classmethod
    def squares(cls, q: int, stiffness: float) -> "Give":
        """Give C r^2 / 2 for every row."""
        return cls(softness=np.full(q, 1 / stiffness), reach=np.full(q, np.inf))


class Dual:
    """The dual of one fit; `maximise` climbs it."""

    def __init__(self, matrix: Both, goal: FloatArray, units: Units, *, system: System | None = None) -> None:
        """Take the matrix (Q x N), what its rows shall come to, and the units; its `system` where there is one."""
        self._matrix, self._goal, self._units = matrix, goal, units
        self._system = system_for(matrix) if system is None else system
        self._squares = np.asarray(matrix.columns.multiply(matrix.columns).sum(axis=1)).ravel()
        self._exact = _GRADIENT_TOLERANCE * (1 + float(np.abs(goal).max(initial=0.0)))

    def weights(self, v: FloatArray) -> FloatArray:
        """Give x(v)."""
        return self._units.at(self._matrix.columns @ v)

    def maximise(self, v: FloatArray, give: Give, *, steps: int = _NEWTON_STEPS) -> FloatArray:
        """Climb from `v` to the maximum, in so many steps at most."""
        v = np.clip(v, -give.reach, give.reach)
        value, (weights, gradient) = self._value(v, give), self._gradient(v, give)
        damping = 0.0
        for _ in range(steps):
            steepest = float(np.abs(gradient).max(initial=0.0))
            if steepest <= self._exact:
                break
            step = self._step(weights, gradient, give, damping)
            length, reached, value_there = self._line_search(v, value, step, gradient, give)
            if value_there <= value:  # rounding hides the rise of the last steps: the slope still shows them
                reached = np.clip(v + step, -give.reach, give.reach)
                length = 1.0 if self._steepest(reached, give) < _STILL_FALLING * steepest else 0.0
            damping = max(_MORE * damping, _DAMPED) if length < _SHORT else damping / _MORE
            if length > 0:
                v, value = reached, max(value, value_there)
                weights, gradient = self._gradient(v, give)
            elif damping > 1:
                break
        return v

    def _step(self, weights: FloatArray, gradient: FloatArray, give: Give, damping: float) -> FloatArray:
        """Give Newton's step; damped where rows whose units are all at their bounds would run away with it."""
        slope = self._units.slope(weights)
        more = damping * max(float(slope @ self._squares) / gradient.size, _TINY)
        softness = np.where(gradient == 0, _HELD, give.softness + more)
        return self._system.factor(slope, softness)(gradient)

    def _steepest(self, v: FloatArray, give: Give) -> float:
        return float(np.abs(self._gradient(v, give)[1]).max(initial=0.0))

    def _gradient(self, v: FloatArray, give: Give) -> tuple[FloatArray, FloatArray]:
        """Give the weights, and the slope of the value by each force: 0 for one that would go past its end."""
        weights = self.weights(v)
        gradient = self._goal - give.softness * v - self._matrix.rows @ weights
        held = (np.abs(v) >= give.reach) & (gradient * v > 0)
        return weights, np.where(held, 0.0, gradient)

    def _value(self, v: FloatArray, give: Give) -> float:
        pull = self._matrix.columns @ v
        weights = self._units.at(pull)
        return float(v @ self._goal - (give.softness * v) @ v / 2 - pull @ weights + self._units.cost(weights))

    def _line_search(
        self, v: FloatArray, value: float, step: FloatArray, gradient: FloatArray, give: Give
    ) -> tuple[float, FloatArray, float]:
        length = 1.0
        for _ in range(_HALVINGS):
            candidate = np.clip(v + length * step, -give.reach, give.reach)
            reached = self._value(candidate, give)
            if reached >= value + _ARMIJO * float(gradient @ (candidate - v)):
                return length, candidate, reached
            length /= 2
        return 0.0, v, value
