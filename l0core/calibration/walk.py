"""How a descent is walked, epoch by epoch: by the plain formulas on any device, or fused into one read of the matrix.

Both take the same steps but for rounding. A walk keeps the state in the order that suits it; `descent()` gives it in
the order of the units.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.calibration import descent
from l0core.calibration.closing import CHECKS, REMOVED, is_due
from l0core.calibration.descent import (
    Descent,
    DrawnGates,
    Gates,
    Landscape,
    Measured,
    OpenGates,
    gates_at,
    positive,
)
from l0core.calibration.fused_walk import FusedWalk, put_together, step_together
from l0core.calibration.kernels.sliced import SlicedMatrix


class Walk(Protocol):
    """The way of one fit."""

    @property
    def steps(self) -> int:
        """How many steps were taken, in earlier fits too."""
        ...

    def expected_l0(self) -> Tensor:
        """Give the expected number of open gates, in float64, where the walk computes."""
        ...

    def step(self, price: Tensor, *, learning_rate: float) -> None:
        """Take the next step; `price` is lambda_l0."""
        ...

    def measure(self) -> Measured:
        """Look at the state, at the cost of half a step; nothing is changed."""
        ...

    def check_gates(self, *, below: float, least: int) -> None:
        """Remove, when it is due, units whose gates stayed `below` a location; `least` units stay (see `closing`)."""
        ...

    def anneal(self, gates: Gates, shape: hc.GateShape) -> None:
        """Go on with gates of another temperature; the locations stay."""
        ...

    def reweigh(self, landscape: Landscape) -> None:
        """Go on where rows count more or less than they did: with this factor, goal and norms."""
        ...

    def rows(self) -> Tensor:
        """Give M w m in float64, under the gates of the next step."""
        ...

    def descent(self) -> Descent:
        """Give the state as it stands."""
        ...


def walk(state: Descent, gates: Gates, landscape: Landscape) -> Walk:
    """Give the fastest walk there is for this landscape; `state` is where it starts."""
    matrix = landscape.matrix
    known = isinstance(gates, (DrawnGates, hc.GateMoments, OpenGates))
    if isinstance(matrix, SlicedMatrix) and known and landscape.form is positive and not landscape.centred:
        return FusedWalk(state, gates, landscape, matrix)
    return PlainWalk(state, gates, landscape)


class PlainWalk:
    """The formulas of `descent`, as they stand, on the landscape's device. Units that are removed stay as they are."""

    def __init__(self, state: Descent, gates: Gates, landscape: Landscape) -> None:
        self._state, self._gates, self._landscape = state, gates, landscape
        if not bool(state.left.all()):
            self._keep_what_is_left()

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return self._state.steps

    def expected_l0(self) -> Tensor:
        """Give the expected number of open gates."""
        return (hc.prob_active(self._state.theta[1], self._landscape.shape) * self._state.left).sum(dtype=torch.float64)

    def step(self, price: Tensor, *, learning_rate: float) -> None:
        """Evaluate, and step."""
        epoch = descent.forward(self._state.theta, gates_at(self._gates, self.steps), self._landscape)
        slope = descent.gradient(epoch, self._landscape, price) * self._state.left  # 0 after 0 moves nothing
        self._state.step(slope, self._landscape.shape, learning_rate=learning_rate)

    def measure(self) -> Measured:
        """Look at the state."""
        return descent.measure(self._state, gates_at(self._gates, self.steps), self._landscape)

    def check_gates(self, *, below: float, least: int) -> None:
        """Check, and remove what is due."""
        state = self._state
        closed = (state.theta[1] < below) & state.left
        counted = torch.where(closed, (state.closed + 1).clamp(max=CHECKS), 0)
        state.closed = torch.where(state.left, counted, state.closed).to(torch.uint8)
        ready = state.closed == CHECKS
        if is_due(ready=int(ready.sum()), left=int(state.left.sum()), least=least):
            state.closed[ready] = REMOVED
            self._keep_what_is_left()

    def anneal(self, gates: Gates, shape: hc.GateShape) -> None:
        """Take them from the next step on."""
        self._gates, self._landscape = gates, replace(self._landscape, shape=shape)

    def reweigh(self, landscape: Landscape) -> None:
        """Take it from the next step on."""
        self._landscape = self._where_units_are_left(landscape)

    def rows(self) -> Tensor:
        """Evaluate."""
        return descent.forward(self._state.theta, gates_at(self._gates, self.steps), self._landscape).rows.double()

    def descent(self) -> Descent:
        """Give the state itself."""
        return self._state

    def _keep_what_is_left(self) -> None:
        left = self._state.left
        self._landscape.matrix.keep(left)
        self._landscape = self._where_units_are_left(self._landscape)
        for moment in (self._state.adam.first, self._state.adam.second):
            moment.mul_(left)

    def _where_units_are_left(self, there: Landscape) -> Landscape:
        left = self._state.left
        spread = None if there.spread is None else there.spread * left
        return replace(there, squared_norms=there.squared_norms * left, spread=spread)


class WalksTogether:
    """Several walks on one matrix, which is read once for all: each takes the steps it would take alone, bit by bit."""

    def __init__(self, walks: Sequence[Walk]) -> None:
        self._walks = list(walks)
        fused_walks = [way for way in self._walks if isinstance(way, FusedWalk)]
        self._fused = fused_walks if len(fused_walks) == len(self._walks) else []
        if self._fused:
            put_together(self._fused)

    def step(self, prices: Sequence[Tensor], *, learning_rate: float) -> None:
        """Take the next step of all, each at its own price; all have taken as many."""
        if self._fused:
            step_together(self._fused, prices, learning_rate)
            return
        for way, price in zip(self._walks, prices, strict=True):
            way.step(price, learning_rate=learning_rate)
