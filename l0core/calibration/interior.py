"""Convex quadratic fits of weights by an interior-point method: some thirty systems, however large and however tight.

    minimise  sum_j (x_j - centre_j)^2 / (2 give_j) + sum_i psi_i(b_i - a_i x)     over lower <= x <= upper

with the rows' psi as in `dual`. Inside the bounds lies a path, along which every product of the room to a bound and the
bound's force is mu; it leads to the solution as mu falls to 0. Predictor and corrector follow it: Mehrotra, SIAM
Journal on Optimization 2 (1992); Wright, Primal-Dual Interior-Point Methods (1997), chapter 10. Weights come close to
their bounds and never reach them: `dual` ends what this begins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.dual import Give, Nearness
from l0core.calibration.systems import Both, System

_STEPS = 100
_NEAR_THE_END = 0.9995  # of the way to the nearest bound is the longest step
_ROOM_AT_START = 0.1  # of the typical weight, or of the width between the bounds
_STIFFEST_START = 1e4  # forces that begin at a stiffer row's residual are too far from right
_NOTHING = 1e-300
_GAP = 1e-9  # of the value: what is left between primal and dual


@dataclass(kw_only=True)
class _Bound:
    """Ends of some numbers on one side: `sign` 1 for a lower end, -1 for an upper one. Room and force are above 0."""

    which: NDArray[np.intp]
    sign: float
    room: FloatArray
    force: FloatArray

    def add_ratio(self, to: FloatArray) -> None:
        to[self.which] += self.force / self.room

    def add_force(self, to: FloatArray, *, factor: float) -> None:
        to[self.which] += factor * self.sign * self.force

    def add_wanted(self, to: FloatArray, wanted: FloatArray | float) -> None:
        to[self.which] += self.sign * (wanted / self.room - self.force)

    def changes(self, change: FloatArray, wanted: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Give those of room and force for a change of the numbers, where their products shall come to `wanted`."""
        room = self.sign * change[self.which]
        return room, (wanted - self.force * room) / self.room - self.force

    def move(self, length: float, room: FloatArray, force: FloatArray) -> None:
        self.room, self.force = self.room + length * room, self.force + length * force


def _lower(values: FloatArray, end: FloatArray, push: FloatArray, mu: float) -> _Bound:
    return _bound(np.flatnonzero(np.isfinite(end)), 1.0, values - end, push, mu)


def _upper(values: FloatArray, end: FloatArray, push: FloatArray, mu: float) -> _Bound:
    return _bound(np.flatnonzero(np.isfinite(end)), -1.0, end - values, push, mu)


def _bound(which: NDArray[np.intp], sign: float, room: FloatArray, push: FloatArray, mu: float) -> _Bound:
    """Give bounds that bear what pushes against them, and a little more."""
    space = room[which]
    return _Bound(which=which, sign=sign, room=space, force=np.maximum(sign * push[which], 0) + mu / space)


def solve(
    matrix: Both,
    goal: FloatArray,
    units: Nearness,
    give: Give,
    start: FloatArray,
    system: System,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[FloatArray, FloatArray]:
    """Give (weights inside their bounds, forces of the rows) near the minimum; lower < upper everywhere.

    `start` are weights to begin near. Ends early, with what it has, where a step no longer helps or `stop` says so.
    """
    path = _Path(matrix, goal, units, give, start, system)
    for _ in range(_STEPS):
        if path.is_at_its_end() or stop() or not path.step():
            break
    return path.weights, path.forces


class _Path:
    """Where the path stands."""

    def __init__(
        self, matrix: Both, goal: FloatArray, units: Nearness, give: Give, start: FloatArray, system: System
    ) -> None:
        self._matrix, self._goal, self._units, self._give, self._system = matrix, goal, units, give, system
        self.weights = _inside(start, units.lower, units.upper)
        residual = goal - matrix.rows @ self.weights
        self.forces = np.clip(
            residual / np.maximum(give.softness, 1 / _STIFFEST_START), -0.9 * give.reach, 0.9 * give.reach
        )
        push = (self.weights - units.centre) / units.give - matrix.columns @ self.forces
        mu = max(1e-6, 0.1 * float(np.abs(push).mean()) * float(self.weights.mean()))
        self._on_units = [
            _lower(self.weights, units.lower, push, mu),
            _upper(self.weights, units.upper, push, mu),
        ]
        leftover = matrix.rows @ self.weights + give.softness * self.forces - goal
        self._on_rows = [
            _lower(self.forces, -give.reach, leftover, mu),
            _upper(self.forces, give.reach, leftover, mu),
        ]

    @property
    def _bounds(self) -> list[_Bound]:
        return self._on_units + self._on_rows

    def is_at_its_end(self) -> bool:
        """Whether what is left between primal and dual is nothing beside the value, and both are feasible."""
        by_unit, by_row = self._unbalanced()
        value = self._units.cost(self.weights) + 0.5 * float((self._give.softness * self.forces) @ self.forces)
        value += sum(float(self._give.reach[b.which] @ b.force) for b in self._on_rows)
        exact = float(np.abs(by_row).max()) <= _GAP * (1 + float(np.abs(self._goal).max()))
        stationary = float(np.abs(by_unit).max()) <= _GAP * (1 + float(np.abs(self.forces).max()))
        return exact and stationary and self._gap() <= _GAP * value

    def step(self) -> bool:
        """Take one step; say whether it went anywhere."""
        by_unit, by_row = self._unbalanced()
        slope, softness = 1 / self._units.give, self._give.softness.copy()
        for bound in self._on_units:
            bound.add_ratio(slope)
        for bound in self._on_rows:
            bound.add_ratio(softness)
        slope = 1 / slope
        solver = self._system.factor(slope, softness)

        def direction(wanted: Sequence[FloatArray | float]) -> tuple[FloatArray, FloatArray]:
            to_units, to_rows = -by_unit, -by_row
            for bound, products in zip(self._on_units, wanted[:2], strict=True):
                bound.add_wanted(to_units, products)
            for bound, products in zip(self._on_rows, wanted[2:], strict=True):
                bound.add_wanted(to_rows, products)
            forces = solver(to_rows - self._matrix.rows @ (slope * to_units))
            return slope * (self._matrix.columns @ forces + to_units), forces

        nothing = [0.0] * len(self._bounds)
        change = self._changes(direction(nothing), nothing)
        mu = self._gap() / max(1, self._count())
        centring = (self._gap_after(self._longest(change), change) / max(self._gap(), _NOTHING)) ** 3
        wanted = [centring * mu - room * force for room, force in change]
        toward = direction(wanted)
        change = self._changes(toward, wanted)
        return self._move(self._longest(change), toward, change)

    def _unbalanced(self) -> tuple[FloatArray, FloatArray]:
        by_unit = (self.weights - self._units.centre) / self._units.give - self._matrix.columns @ self.forces
        by_row = self._matrix.rows @ self.weights + self._give.softness * self.forces - self._goal
        for bound in self._on_units:
            bound.add_force(by_unit, factor=-1.0)
        for bound in self._on_rows:
            bound.add_force(by_row, factor=-1.0)
        return by_unit, by_row

    def _gap(self) -> float:
        return sum(float(bound.room @ bound.force) for bound in self._bounds)

    def _count(self) -> int:
        return sum(bound.which.size for bound in self._bounds)

    def _changes(
        self, toward: tuple[FloatArray, FloatArray], wanted: Sequence[FloatArray | float]
    ) -> list[tuple[FloatArray, FloatArray]]:
        numbers = [toward[0]] * 2 + [toward[1]] * 2
        return [b.changes(change, products) for b, change, products in zip(self._bounds, numbers, wanted, strict=True)]

    def _gap_after(self, length: float, change: Sequence[tuple[FloatArray, FloatArray]]) -> float:
        pairs = zip(self._bounds, change, strict=True)
        return sum(float((b.room + length * room) @ (b.force + length * force)) for b, (room, force) in pairs)

    def _longest(self, change: Sequence[tuple[FloatArray, FloatArray]]) -> float:
        pairs = zip(self._bounds, change, strict=True)
        ends = [end for b, (room, force) in pairs for end in (_end(b.room, room), _end(b.force, force))]
        return min(1.0, _NEAR_THE_END * min(ends, default=1.0))

    def _move(
        self, length: float, toward: tuple[FloatArray, FloatArray], change: Sequence[tuple[FloatArray, FloatArray]]
    ) -> bool:
        if not np.isfinite(toward[1]).all() or length < 1e-10:
            return False
        self.weights, self.forces = self.weights + length * toward[0], self.forces + length * toward[1]
        for bound, (room, force) in zip(self._bounds, change, strict=True):
            bound.move(length, room, force)
        return True


def _end(values: FloatArray, change: FloatArray) -> float:
    """Give how far one can go before a value is 0."""
    falling = change < 0
    return float((values[falling] / -change[falling]).min()) if falling.any() else np.inf


def _inside(start: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Give weights near `start` with room on both sides."""
    typical = float(np.abs(start).mean()) or 1.0
    room = _ROOM_AT_START * np.minimum(typical, upper - lower)
    return np.clip(start, lower + room, upper - room)
