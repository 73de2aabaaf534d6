"""The walk of the CPU: each epoch is one read of the matrix, by the compiled kernel, in the order of its lanes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.calibration.adam import FIRST_DECAY, SECOND_DECAY, Adam
from l0core.calibration.closing import CHECKS, REMOVED, is_due
from l0core.calibration.descent import Descent, DrawnGates, Gates, Landscape, Measured, unit_of
from l0core.calibration.kernels import fused, measuring
from l0core.calibration.kernels.sliced import SlicedMatrix
from l0core.calibration.kernels.slices import Slices
from l0core.noise import epoch_key

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _Lanes:
    """What an epoch moves, for one walk or several side by side (the first axis), by lane.

    `numbers` are parameters, first and second moments (3 x 2 x lanes), in one piece so that large pages hold them;
    `totals` (blocks x rows) are what the walks pushed last.
    """

    numbers: Floats
    drawn: Floats
    norms: Floats
    roots: Floats
    totals: NDArray[np.float64]

    @classmethod
    def for_walks(cls, n: int, slices: Slices, *, draws: bool, spread: bool) -> "_Lanes":
        """Give room for `n` walks."""
        return cls(
            numbers=np.empty((n, 3, 2, slices.n_lanes), dtype=np.float32),
            drawn=np.empty((n, slices.n_lanes if draws else 0), dtype=np.float32),
            norms=np.empty((n, slices.n_lanes), dtype=np.float32),
            roots=np.empty((n, slices.n_lanes if spread else 0), dtype=np.float32),
            totals=np.empty((n, slices.blocks.size - 1, slices.n_rows)),
        )


class FusedWalk:
    """The state in the order of the matrix's lanes, each epoch one call of `fused.epoch`."""

    _landscape: Landscape
    _lanes: _Lanes
    _theta: Floats
    _first: Floats
    _second: Floats
    _norms: Floats
    _roots: Floats
    _drawn: Floats
    _totals: NDArray[np.float64]
    _estimates: NDArray[np.float64]
    _residual: NDArray[np.float64]
    _unit: float

    def __init__(self, state: Descent, gates: Gates, landscape: Landscape, matrix: SlicedMatrix) -> None:
        self._matrix = matrix
        self._weigh(landscape)
        self._take(gates, landscape.shape)
        self._told = np.empty((matrix.slices.blocks.size - 1, 7))
        if not bool(state.left.all()):
            matrix.keep(state.left)
        self._enter(state)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return self._steps

    def expected_l0(self) -> Tensor:
        """Give the expected number of open gates."""
        measuring.expected_open(self._slices.blocks, self._slices.unit, self._theta[1], self._shape[3], self._told)
        return torch.tensor(self._told[:, 0].sum())

    def step(self, price: Tensor, *, learning_rate: float) -> None:
        """Take the next step in one pass over the matrix."""
        step_together((self,), (price,), learning_rate)

    def measure(self) -> Measured:
        """Look at the state in one pass over the matrix."""
        state = (self._theta, self._first, self._second, self._drawn, self._norms, self._roots, self._totals)
        measuring.measure(*self._layout(), *state, self._mode, *self._how(), self._told)
        expected, squares, variance, active, unsound, *costs = self._told.sum(axis=0)
        return Measured(
            rows=torch.from_numpy(self._summed()),
            misfit=float((self._residual**2).sum() + variance / self._unit),
            squares=float(squares),
            expected_l0=float(expected),
            active=int(active),
            sound=unsound == 0,
            spread=float(costs[0]),
            spread_at_test_time=float(costs[1]),
        )

    def check_gates(self, *, below: float, least: int) -> None:
        """Check, and remove what is due."""
        ready = measuring.count_closed(self._theta[1], self._slices.unit, np.float32(below), CHECKS, self._closed)
        if is_due(ready=ready, left=self._slices.n_held, least=least):
            self._closed[self._closed == CHECKS] = REMOVED
            state = self.descent()
            self._matrix.keep(state.left)
            self._enter(state)

    def anneal(self, gates: Gates, shape: hc.GateShape) -> None:
        """Push the weights once more, under the new gates."""
        self._landscape = replace(self._landscape, shape=shape)
        self._take(gates, shape)
        self._begin()

    def reweigh(self, landscape: Landscape) -> None:
        """Take it: what was pushed stays."""
        self._weigh(landscape)
        self._norms[:] = self._scaled_norms()
        self._compare()

    def rows(self) -> Tensor:
        """Give what was pushed last."""
        return torch.from_numpy(self._estimates)

    def descent(self) -> Descent:
        """Give the state in the order of the units; of removed ones as it was, without moments."""
        theta, closed = self._rest.clone(), torch.full((self._slices.n_columns,), REMOVED, dtype=torch.uint8)
        adam = Adam.for_parameter(theta)
        for pair, lanes in ((theta, self._theta), (adam.first, self._first), (adam.second, self._second)):
            for row, by_lane in zip(pair.numpy(), lanes, strict=True):
                self._slices.collect(by_lane, row)
        self._slices.collect(self._closed, closed.numpy())
        return Descent(theta=theta, adam=adam, closed=closed, steps=self.steps, unit=self._unit)

    def _enter(self, state: Descent) -> None:
        """Go on from a state, with the columns the matrix holds; its tensors are read and no more."""
        self._slices = self._matrix.slices
        self._rest, self._steps, self._unit = state.theta.to(torch.float32), state.steps, state.unit
        draws, spread = self._mode == fused.DRAWN, self._landscape.spread
        self._look_at(_Lanes.for_walks(1, self._slices, draws=draws, spread=spread is not None), 0)
        if spread is not None:
            self._roots[:] = self._slices.spread(spread.numpy(), 0.0)
        self._spread(state.theta, self._theta, rest=(0.0, self._landscape.shape.reach[0]))
        self._spread(state.adam.first, self._first)
        self._spread(state.adam.second, self._second)
        self._closed = self._slices.spread(state.closed.numpy(), 0)
        self._norms[:] = self._scaled_norms()
        self._begin()

    def _weigh(self, landscape: Landscape) -> None:
        self._landscape = landscape
        self._factor, self._goal = landscape.factor.double().numpy(), landscape.goal.double().numpy()

    def _take(self, gates: Gates, shape: hc.GateShape) -> None:
        self._gates, self._shape = gates, _shape_numbers(shape)
        self._mode, self._table, self._table_at = _how_gates_enter(gates)

    def _begin(self) -> None:
        """Find the residual of the next step's gates."""
        key = self._key(self.steps)
        fused.begin(*self._layout(), self._theta, self._drawn, self._totals, self._mode, key, *self._how())
        self._gather()

    def _look_at(self, lanes: _Lanes, place: int) -> None:
        """Keep the numbers there from now on."""
        self._lanes = lanes
        self._theta, self._first, self._second = lanes.numbers[place]
        self._norms, self._roots = lanes.norms[place], lanes.roots[place]
        self._drawn, self._totals = lanes.drawn[place], lanes.totals[place]

    def _choose_unit(self, price: Tensor) -> None:
        state = (self._theta, self._drawn, self._mode, *self._how(), self._norms, self._roots)
        measuring.steepest(*self._layout()[:4], *state, self._by_row(), self._prices(price), self._told)
        self._unit = unit_of(torch.from_numpy(self._told[:, 0]))
        self._norms[:] = self._scaled_norms()

    def _by_row(self) -> Floats:
        """Give what every row passes on to the columns, in the gradient's unit."""
        nesting = self._slices.nesting
        by_row: Floats = fused.spread_down(self._factor * self._residual * self._unit, nesting.parent, nesting.child)
        return by_row

    def _prices(self, price: Tensor) -> tuple[np.float32, ...]:
        """Give the prices of a gate and of a squared weight (twice) in the gradient's unit, and that unit."""
        prices = (float(price), 2 * self._landscape.lambda_l2, 1.0)
        return tuple(np.float32(number * self._unit) for number in prices)

    def _scaled_norms(self) -> Floats:
        return self._slices.spread((self._landscape.squared_norms * self._unit).numpy(), 0.0)

    def _gather(self) -> None:
        """Find M w m of the gates that were pushed just now."""
        self._estimates = self._summed()
        self._compare()

    def _compare(self) -> None:
        """Find the residual A (w m) - b."""
        self._residual = np.asarray(self._factor * self._estimates - self._goal)

    def _summed(self) -> NDArray[np.float64]:
        nesting = self._slices.nesting
        rows: NDArray[np.float64] = fused.gather_up(self._totals, nesting.parent, nesting.child)
        return rows

    def _layout(self) -> tuple[NDArray[Any], ...]:
        s = self._slices
        return s.data, s.row, s.start, s.blocks, s.unit

    def _how(self) -> tuple[Any, ...]:
        return self._shape, self._table, self._table_at

    def _key(self, epoch: int) -> tuple[np.int32, np.int32]:
        words = epoch_key(self._gates.seed, epoch) if isinstance(self._gates, DrawnGates) else (0, 0)
        low, high = np.array(words, dtype=np.uint32).view(np.int32)
        return low, high

    def _spread(self, tensor: Tensor, into: Floats, *, rest: tuple[float, float] = (0.0, 0.0)) -> None:
        for row, lanes, blank in zip(tensor.to(torch.float32).numpy(), into, rest, strict=True):
            lanes[:] = self._slices.spread(row, blank)


def put_together(walks: Sequence[FusedWalk]) -> None:
    """Let these walks on one matrix and with the same gates keep their numbers side by side."""
    joint = _Lanes(
        numbers=np.concatenate([way._lanes.numbers for way in walks]),
        drawn=np.concatenate([way._lanes.drawn for way in walks]),
        norms=np.concatenate([way._lanes.norms for way in walks]),
        roots=np.concatenate([way._lanes.roots for way in walks]),
        totals=np.concatenate([way._lanes.totals for way in walks]),
    )
    for place, way in enumerate(walks):
        way._look_at(joint, place)


def step_together(walks: Sequence[FusedWalk], prices: Sequence[Tensor], learning_rate: float) -> None:
    """Take the next step of walks that share their lanes and gates."""
    lead = walks[0]
    if lead.steps == 0:
        for way, price in zip(walks, prices, strict=True):
            way._choose_unit(price)
    done, lanes = lead.steps + 1, lead._lanes
    given = (
        *lead._layout(),
        *(lanes.numbers, lanes.drawn, lanes.norms, lanes.roots, lanes.totals),
        lead._mode,
        lead._key(done),
        *lead._how(),
        np.stack([way._by_row() for way in walks]),
        np.array([way._prices(price) for way, price in zip(walks, prices, strict=True)], dtype=np.float32),
        np.float32(learning_rate / (1 - FIRST_DECAY**done)),
        np.float32(1 / (1 - SECOND_DECAY**done)),
        tuple(np.float32(end) for end in lead._landscape.shape.reach),
        lead._told,
    )
    for way in walks:  # first: an interrupt that comes while the kernel runs is raised where it returns
        way._steps = done
    fused.epoch(*given)
    for way in walks:
        way._gather()


def _how_gates_enter(gates: Gates) -> tuple[int, Floats, tuple[np.float32, ...]]:
    """Give the kernel's mode, the gates' moments (by cell: mean, slope, variance, slope), and where and how finely."""
    if isinstance(gates, hc.GateMoments):
        table = torch.stack([gates.table[:, :-1], gates.slopes], dim=1).flatten(0, 1).T.to(torch.float32)
        lies = tuple(np.float32(number) for number in (gates.low, 1 / gates.step, gates.step))
        return fused.EXPECTED, table.contiguous().numpy(), lies
    mode = fused.DRAWN if isinstance(gates, DrawnGates) else fused.OPEN
    return mode, np.zeros((1, 4), dtype=np.float32), (np.float32(0), np.float32(1), np.float32(1))


def _shape_numbers(shape: hc.GateShape) -> tuple[np.float32, ...]:
    numbers = (1 / shape.beta, shape.gamma, shape.zeta - shape.gamma, shape.threshold)
    return tuple(np.float32(number) for number in numbers)
