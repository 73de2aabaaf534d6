"""The fused walk against the formulas of `descent` in float64; and the same bits however it is walked.

The reference takes the same float32 numbers and computes in float64 throughout. Errors are measured against what the
gradient's sums are made of: where these cancel, no float32 sum keeps its digits.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numba
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.calibration import closing, descent
from l0core.calibration.adam import FIRST_DECAY
from l0core.calibration.descent import Descent, DeterministicGates, DrawnGates, Gates, GateValues, Landscape, OpenGates
from l0core.calibration.fused_walk import FusedWalk
from l0core.calibration.kernels.sliced import SlicedMatrix
from l0core.calibration.kernels.torch_csr import TorchMatrix
from l0core.calibration.walk import PlainWalk, Walk, WalksTogether, walk
from l0core.hard_concrete import GateMoments, GateShape
from l0core.noise import epoch_key

KINDS = ("drawn", "expected", "open")
SEED = 2**61 + 12_345


class _Float64:
    def __init__(self, matrix: sp.csr_array) -> None:
        self._matrix = matrix

    def times(self, weights: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(self._matrix @ weights.numpy()))

    def transposed_times(self, residual: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(self._matrix.T @ residual.numpy()))

    def keep(self, units: Tensor) -> None:
        self._matrix = sp.csr_array(self._matrix * units.double().numpy())


@dataclass(frozen=True, kw_only=True)
class _DrawnInFloat64:
    """The draws of an epoch, written out once more."""

    shape: GateShape
    epoch: int

    def __call__(self, log_alpha: Tensor) -> GateValues:
        low, high = epoch_key(SEED, self.epoch)
        word = np.arange(log_alpha.numel(), dtype=np.uint64) ^ np.uint64(low)
        word = _lowbias32(_lowbias32(word) ^ np.uint64(high))
        u = ((word >> np.uint64(9)).astype(np.float64) + 0.5) / 2**23
        value, slope = hc.draw(log_alpha, torch.from_numpy(np.log(u) - np.log1p(-u)), self.shape)
        return value, slope, torch.zeros_like(value), torch.zeros_like(value)


def _lowbias32(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word = ((word ^ (word >> np.uint64(shift))) * np.uint64(factor)) % np.uint64(2**32)
    return word ^ (word >> np.uint64(16))


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """A random calibration in float32: counts by district and their totals, or rows that have nothing to do."""

    kind: str
    seed: int = 0
    rows: int = 6
    units: int = 70
    beta: float = 0.5
    lambda_l0: float = 0.1
    lambda_l2: float = 1e-3
    lambda_spread: float = 0.0
    magnitude: float = 1.0
    stacked: bool = True
    without_weight: float = 0.0

    def _rng(self, part: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, part))

    @property
    def shape(self) -> GateShape:
        return GateShape(beta=self.beta)

    @cached_property
    def matrix(self) -> sp.csr_array:
        rng = self._rng(0)
        values = rng.integers(1, 5, (self.rows, self.units)) * rng.random(self.units).astype(np.float32)
        dense = values * (rng.random((self.rows, self.units)) < 0.5)
        if self.stacked and self.rows > 2:
            dense[-1] = dense[0]
            dense[1] *= dense[0] == 0
            dense[-1] += dense[1]
        return sp.csr_array(dense.astype(np.float64))

    def factor(self) -> Tensor:
        return torch.from_numpy(self.magnitude * np.exp(self._rng(1).normal(size=self.rows))).float()

    def theta(self) -> Tensor:
        rng = self._rng(2)
        log_weight, log_alpha = rng.normal(size=self.units), 3 * rng.normal(size=self.units)
        log_weight[rng.random(self.units) < self.without_weight] = -np.inf
        return torch.from_numpy(np.stack([log_weight, self._within_cells(log_alpha)])).float()

    def _within_cells(self, log_alpha: NDArray[np.float64]) -> NDArray[np.float64]:
        """Keep off the borders of the moments' table, where rounding decides between two slopes."""
        table = GateMoments(self.shape, device="cpu")
        position = (log_alpha - table.low) / table.step
        return np.asarray(table.low + table.step * (np.floor(position) + np.clip(position % 1, 0.1, 0.9)))

    def goal(self) -> Tensor:
        weights, value = torch.exp(self.theta()[0].double()), self.gates64(0)(self.theta()[1].double())[0]
        estimate = self.factor().double() * _Float64(self.matrix).times(weights * value)
        return (estimate * torch.from_numpy(self._rng(3).uniform(0.3, 1.7, self.rows))).float() + self.magnitude

    @cached_property
    def landscape(self) -> Landscape:
        squares = (self.factor().double().numpy()[:, None] * self.matrix.toarray()) ** 2
        return Landscape(
            matrix=SlicedMatrix(self.matrix),
            factor=self.factor(),
            goal=self.goal(),
            squared_norms=torch.from_numpy(squares.sum(axis=0)).float(),
            shape=self.shape,
            lambda_l2=self.lambda_l2 * self.magnitude**2,
            spread=self.spread() if self.lambda_spread else None,
        )

    def spread(self) -> Tensor:
        """Give sqrt(lambda_spread / n) over design weights from a third to three."""
        design = np.exp(self._rng(4).uniform(-1, 1, self.units))
        return torch.from_numpy(self.magnitude * np.sqrt(self.lambda_spread / self.units) / design).float()

    def gates(self) -> Gates:
        if self.kind == "drawn":
            return DrawnGates(shape=self.shape, seed=SEED)
        return GateMoments(self.shape, device="cpu") if self.kind == "expected" else OpenGates()

    def gates64(self, epoch: int) -> Gates:
        if self.kind == "drawn":
            return _DrawnInFloat64(shape=self.shape, epoch=epoch)
        return GateMoments(self.shape, device="cpu", dtype=torch.float64) if self.kind == "expected" else OpenGates()

    @property
    def price(self) -> Tensor:
        return torch.tensor(self.lambda_l0 * self.magnitude**2, dtype=torch.float64)

    def start(self) -> Descent:
        return Descent.start(self.theta())

    def fused(self, state: Descent | None = None) -> FusedWalk:
        assert isinstance(self.landscape.matrix, SlicedMatrix)
        return FusedWalk(state or self.start(), self.gates(), self.landscape, self.landscape.matrix)

    def plain(self) -> PlainWalk:
        return PlainWalk(self.start(), self.gates(), self.landscape)


def _in_float64(landscape: Landscape, matrix: sp.csr_array) -> Landscape:
    return replace(
        landscape,
        matrix=_Float64(matrix),
        factor=landscape.factor.double(),
        goal=landscape.goal.double(),
        squared_norms=landscape.squared_norms.double(),
        spread=None if landscape.spread is None else landscape.spread.double(),
    )


def _made_of(epoch: descent.Epoch, landscape: Landscape, price: Tensor) -> Tensor:
    """Give the gradient with every term taken at its absolute value."""
    value, slope, variance, variance_slope = epoch.gate
    sums = epoch.residual.abs() + 2 * landscape.goal  # at least what A (w m) and b are
    sizes = replace(epoch, gate=(value, slope.abs(), variance, variance_slope.abs()), residual=sums)
    return descent.gradient(sizes, landscape, price)


def _gradient(way: Walk) -> Tensor:
    """Give the gradient of the first step, from what Adam keeps of it."""
    state = way.descent()
    return state.adam.first.double() / (1 - FIRST_DECAY) / state.unit


problems = st.builds(
    _Problem,
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 12),
    units=st.one_of(st.integers(1, 40), st.sampled_from([64, 65, 300])),
    beta=st.sampled_from([0.1, 0.35, 2 / 3, 2.0]),
    lambda_l0=st.sampled_from([0.0, 1e-3, 10.0]),
    lambda_l2=st.sampled_from([0.0, 1e-4, 1.0]),
    lambda_spread=st.sampled_from([0.0, 0.1, 100.0]),
    magnitude=st.sampled_from([1e-8, 1.0, 1e8]),
    stacked=st.booleans(),
    without_weight=st.sampled_from([0.0, 0.3, 1.0]),
)


@settings(deadline=None, max_examples=150)
@given(problem=problems)
def test_the_gradient_of_a_step_is_the_plain_formula_s_in_float64(problem: _Problem) -> None:
    way = problem.fused()
    way.step(problem.price, learning_rate=0.1)
    landscape = _in_float64(problem.landscape, problem.matrix)
    epoch = descent.forward(problem.theta().double(), problem.gates64(0), landscape)
    error = _gradient(way) - descent.gradient(epoch, landscape, problem.price)
    made_of = _made_of(epoch, landscape, problem.price)
    assert (error.norm(dim=1) <= 1e-5 * made_of.norm(dim=1) + 1e-30 * problem.magnitude**2).all()


@settings(deadline=None, max_examples=40)
@given(problem=problems, steps=st.integers(1, 3))
def test_the_gradient_of_a_later_step_is_too(problem: _Problem, steps: int) -> None:
    """What a step adds to the first moment: the residual and the noise of an epoch are those of its own gates."""
    way = problem.fused()
    for _ in range(steps):
        way.step(problem.price, learning_rate=0.1)
    before = way.descent()
    theta = before.theta.clone()
    theta[1] = torch.from_numpy(problem._within_cells(theta[1].double().numpy())).float()
    way = problem.fused(replace(before, theta=theta))
    way.step(problem.price, learning_rate=0.1)
    added = way.descent().adam.first.double() - FIRST_DECAY * before.adam.first.double()
    landscape = _in_float64(problem.landscape, problem.matrix)
    epoch = descent.forward(theta.double(), problem.gates64(steps), landscape)
    error = added / (1 - FIRST_DECAY) / before.unit - descent.gradient(epoch, landscape, problem.price)
    made_of = _made_of(epoch, landscape, problem.price) + before.adam.first.double().abs() / before.unit
    assert (error.norm(dim=1) <= 1e-5 * made_of.norm(dim=1) + 1e-30 * problem.magnitude**2).all()


@settings(deadline=None, max_examples=40)
@given(problem=problems)
def test_what_is_measured_along_the_way_are_the_plain_formulas_in_float64(problem: _Problem) -> None:
    way, price = problem.fused(), float(problem.price)
    double = _in_float64(problem.landscape, problem.matrix)
    for epoch in range(3):
        state, measured = way.descent(), way.measure()
        there = state.at(state.theta.double())
        exact = descent.measure(there, problem.gates64(epoch), double)
        parts = descent.forward(there.theta, problem.gates64(epoch), double)
        scale = (parts.residual.abs() + double.goal).square().sum() + exact.misfit
        assert abs(measured.misfit - exact.misfit) <= 1e-5 * scale
        assert (measured.rows - exact.rows).norm() <= 1e-5 * (exact.rows + 1).norm()
        assert measured.squares == pytest.approx(exact.squares, rel=1e-5)
        assert measured.expected_l0 == pytest.approx(exact.expected_l0, rel=1e-5)
        assert (measured.active, measured.sound) == (exact.active, True)
        losses = measured.losses(price=price, lambda_l2=double.lambda_l2)
        assert losses["loss"] == losses["data_loss"] + losses["l0_penalty"] + losses["l2_penalty"] + measured.spread
        assert measured.spread == pytest.approx(exact.spread, rel=1e-5)
        assert measured.spread_at_test_time == pytest.approx(exact.spread_at_test_time, rel=1e-5)
        assert losses["data_loss"] == measured.misfit
        assert losses["l2_penalty"] == double.lambda_l2 * measured.squares
        assert (way.descent().theta == state.theta).all()
        way.step(problem.price, learning_rate=0.1)


@settings(deadline=None, max_examples=40)
@given(problem=problems, steps=st.integers(0, 3))
def test_the_expected_number_of_open_gates_is_hard_concrete_s(problem: _Problem, steps: int) -> None:
    way = problem.fused()
    for _ in range(steps):
        way.step(problem.price, learning_rate=0.5)
    found = way.expected_l0()
    assert found.dtype == torch.float64
    expected = float(hc.expected_l0(way.descent().theta[1].double(), problem.shape))
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "units"), [(1, 1), (3, 33), (30, 2000)])
@pytest.mark.parametrize("magnitude", [1.0, 1e6])
def test_after_fifty_steps_both_walks_are_in_the_same_place(kind: str, rows: int, units: int, magnitude: float) -> None:
    problem = _Problem(kind=kind, rows=rows, units=units, magnitude=magnitude, without_weight=0.1)
    ways = (problem.fused(), problem.plain())
    for way in ways:
        for done in range(50):
            way.step(problem.price * (1 + done), learning_rate=0.1 / (1 + done / 50))
    found, expected = (way.descent() for way in ways)
    assert (found.steps, found.unit) == (expected.steps, expected.unit) == (50, expected.unit)
    near = torch.isclose(found.theta, expected.theta, rtol=1e-3, atol=1e-3)
    assert near.float().mean() >= 0.99  # a draw may reach a gate's end in one of them alone, by rounding: 1 in 10^6
    assert float(ways[0].expected_l0()) == pytest.approx(float(ways[1].expected_l0()), rel=1e-4)


@pytest.mark.parametrize("kind", ["drawn", "expected"])
def test_at_another_temperature_a_walk_goes_on_as_one_that_begins_there(kind: str) -> None:
    hot = _Problem(kind=kind, units=300, rows=12, beta=1.0, lambda_spread=0.1)
    shape = GateShape(beta=0.3)
    gates: Gates = DrawnGates(shape=shape, seed=SEED) if kind == "drawn" else GateMoments(shape, device="cpu")
    way, plain = hot.fused(), hot.plain()
    for walk_ in (way, plain):
        for _ in range(5):
            walk_.step(hot.price, learning_rate=0.1)
        walk_.anneal(gates, shape)
    there = replace(hot.landscape, shape=shape)
    assert isinstance(there.matrix, SlicedMatrix)
    begun = FusedWalk(way.descent(), gates, there, there.matrix)
    for walk_ in (way, plain, begun):
        for _ in range(5):
            walk_.step(hot.price, learning_rate=0.1)
    assert _bits(way.descent()) == _bits(begun.descent())
    assert way.measure().misfit == begun.measure().misfit
    near = torch.isclose(way.descent().theta, plain.descent().theta, rtol=1e-3, atol=1e-3)
    assert near.float().mean() >= 0.99
    assert float(way.expected_l0()) == pytest.approx(
        float(hc.expected_l0(way.descent().theta[1].double(), shape)), rel=1e-6
    )
    assert way.measure().active == int((hc.deterministic_gate(way.descent().theta[1], shape) > 0).sum())


@pytest.mark.parametrize("kind", ["drawn", "expected"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_where_rows_count_more_or_less_a_walk_goes_on_as_one_that_begins_there(kind: str, share: float) -> None:
    problem = _Problem(kind=kind, units=300, rows=12, lambda_spread=0.1)
    ways: list[Walk] = list(_walks(problem, _closing(problem, share=share)))
    root = torch.from_numpy(problem._rng(5).uniform(0.1, 3, problem.rows)).float()
    squares = (problem.factor() * root).double().numpy()[:, None] ** 2 * problem.matrix.toarray() ** 2
    there = replace(
        problem.landscape,
        factor=problem.landscape.factor * root,
        goal=problem.landscape.goal * root,
        squared_norms=torch.from_numpy(squares.sum(axis=0)).float(),
    )
    states = []
    for way in ways:
        for done in range(9):
            way.step(problem.price, learning_rate=0.1)
            if done % 3 == 0:
                way.check_gates(below=SHUT, least=1)
        way.reweigh(there)
        states.append(way.descent().at(way.descent().theta.clone()))
    begun: list[Walk] = [FusedWalk(states[0], problem.gates(), there, SlicedMatrix(problem.matrix))]
    begun.append(PlainWalk(states[1], problem.gates(), replace(there, matrix=SlicedMatrix(problem.matrix))))
    for way, other in zip(ways, begun, strict=True):
        assert way.rows().tolist() == other.rows().tolist()
        for _ in range(5):
            way.step(problem.price, learning_rate=0.1)
            other.step(problem.price, learning_rate=0.1)
        assert _bits(way.descent()) == _bits(other.descent())
        assert way.measure().misfit == other.measure().misfit
    near = torch.isclose(ways[0].descent().theta, ways[1].descent().theta, rtol=1e-3, atol=1e-3)
    assert near.float().mean() >= 0.99
    assert bool(states[0].left.all()) == (share == 0)


def test_the_drawn_gates_of_every_epoch_are_others() -> None:
    problem = _Problem(kind="drawn", lambda_l0=0.0)
    way = problem.fused()
    residuals = []
    for _ in range(4):
        residuals.append(way._residual)
        way.step(problem.price, learning_rate=1e-12)
    assert len({tuple(residual.tolist()) for residual in residuals}) == 4


def _bits(state: Descent) -> str:
    numbers = (state.theta, state.adam.first, state.adam.second)
    held = b"".join(tensor.contiguous().numpy().tobytes() for tensor in numbers)
    return hashlib.sha256(held + repr((state.steps, state.unit)).encode()).hexdigest()


def bits_of_a_walk(kind: str, units: int, *, steps: int = 8) -> str:
    problem = _Problem(kind=kind, units=units, without_weight=0.1)
    way = problem.fused()
    for _ in range(steps):
        way.step(problem.price, learning_rate=0.1)
    return _bits(way.descent()) + repr(float(way.expected_l0()))


SIZES = (1, 33, 5000, 70_001)


@pytest.fixture
def most_threads() -> Iterator[int]:
    """Give how many threads there are by default, and leave them so."""
    before: int = numba.get_num_threads()
    yield before
    numba.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("units", SIZES)
def test_the_bits_do_not_depend_on_the_threads(kind: str, units: int, most_threads: int) -> None:
    found = set()
    for threads in (1, most_threads):
        numba.set_num_threads(threads)
        found.add(bits_of_a_walk(kind, units))
    assert len(found) == 1


def test_the_bits_are_those_of_another_process_with_other_threads() -> None:
    program = (
        f"import runpy; f = runpy.run_path({__file__!r})['bits_of_a_walk']\n"
        f"print(*(f(kind, units) for kind in {KINDS} for units in {SIZES[:3]}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"NUMBA_NUM_THREADS": "3", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [bits_of_a_walk(kind, units) for kind in KINDS for units in SIZES[:3]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("units", [1, 33, 5000])
def test_a_walk_stopped_anywhere_and_gone_on_with_gives_the_same_bits(kind: str, units: int) -> None:
    problem = _Problem(kind=kind, units=units, without_weight=0.1)
    whole = problem.fused()
    states = [whole.descent()]
    for _ in range(10):
        whole.step(problem.price, learning_rate=0.1)
        states.append(whole.descent())
    for state in states[:-1]:
        way = problem.fused(state.at(state.theta.clone()))
        while way.steps < 10:
            assert _bits(way.descent()) == _bits(states[way.steps])
            way.step(problem.price, learning_rate=0.1)
        assert _bits(way.descent()) == _bits(states[-1])
        assert float(way.expected_l0()) == float(whole.expected_l0())


def test_a_walk_leaves_alone_what_it_was_given_and_what_it_gave() -> None:
    problem = _Problem(kind="drawn")
    start = problem.start()
    way = problem.fused(start)
    way.step(problem.price, learning_rate=0.1)
    given_out = way.descent()
    kept = _bits(given_out)
    way.step(problem.price, learning_rate=0.1)
    assert _bits(given_out) == kept
    assert _bits(start) == _bits(problem.start())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [0, 1], ids=["log_weight", "log_alpha"])
@pytest.mark.parametrize("when", [0, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_ends_as_in_the_plain_walk(kind: str, row: int, when: int, value: float) -> None:
    """NaN and an infinite weight come out as NaN; a weight of 0 stays; an infinite location is brought within reach."""
    problem = _Problem(kind=kind)
    way: Walk
    found = []
    for plain in (False, True):
        way = problem.plain() if plain else problem.fused()
        for _ in range(when):
            way.step(problem.price, learning_rate=0.1)
        state = way.descent()
        state.theta[row, 3] = value
        way = PlainWalk(state, problem.gates(), problem.landscape) if plain else problem.fused(state)
        for _ in range(3):
            way.step(problem.price, learning_rate=0.1)
        found.append(way)
    ended, expected = (way.descent() for way in found)
    assert ended.is_sound() == expected.is_sound() == (value == -np.inf or (row == 1 and value == np.inf))
    assert torch.equal(ended.theta.isnan(), expected.theta.isnan())
    assert ended.theta[row, 3] == pytest.approx(float(expected.theta[row, 3]), abs=1e-3, nan_ok=True)
    open_gates = [float(way.expected_l0()) for way in found]
    assert open_gates[0] == pytest.approx(open_gates[1], rel=1e-4, nan_ok=True)


def test_a_weight_too_large_for_float32_is_not_sound() -> None:
    problem = _Problem(kind="open")
    state = problem.start()
    state.theta[0] = torch.inf
    way = problem.fused(state)
    way.step(problem.price, learning_rate=0.1)
    assert not way.descent().is_sound()


def test_the_unit_of_the_gradient_is_chosen_at_the_first_step_alone() -> None:
    problem = _Problem(kind="expected", magnitude=1e5)
    way = problem.fused()
    assert way.descent().unit == 1
    way.step(problem.price, learning_rate=0.1)
    unit = way.descent().unit
    assert 0.25 <= float(_gradient(way).abs().max()) * unit <= 1
    way.step(problem.price * 1e9, learning_rate=0.1)
    assert way.descent().unit == unit


@pytest.mark.parametrize("kind", KINDS)
def test_positive_weights_on_the_processor_are_walked_fused(kind: str) -> None:
    problem = _Problem(kind=kind)
    assert isinstance(walk(problem.start(), problem.gates(), problem.landscape), FusedWalk)


@pytest.mark.parametrize("what", ["signed", "centred", "torch"])
def test_any_other_landscape_is_walked_by_the_plain_formulas(what: str) -> None:
    problem = _Problem(kind="drawn")
    landscape = {
        "signed": replace(problem.landscape, form=descent.signed),
        "centred": replace(problem.landscape, centred=True),
        "torch": replace(problem.landscape, matrix=TorchMatrix(problem.matrix, device="cpu")),
    }[what]
    way = walk(problem.start(), problem.gates(), landscape)
    assert isinstance(way, PlainWalk)
    way.step(problem.price, learning_rate=0.1)
    assert (way.steps, way.descent().is_sound()) == (1, True)


def test_gates_the_kernel_does_not_know_are_walked_by_the_plain_formulas() -> None:
    problem = _Problem(kind="open")
    gates = DeterministicGates(shape=problem.shape)
    assert isinstance(walk(problem.start(), gates, problem.landscape), PlainWalk)


def test_the_kernel_s_decays_are_adam_s() -> None:
    """They are written out in the kernel; a change of one alone would go unseen in the first step's direction."""
    problem = _Problem(kind="open", lambda_l0=0.0)
    ways = (problem.fused(), problem.plain())
    for way in ways:
        for _ in range(20):
            way.step(problem.price, learning_rate=0.1)
    found, expected = (way.descent().adam for way in ways)
    torch.testing.assert_close(found.first, expected.first, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found.second, expected.second, rtol=1e-3, atol=1e-6)


SHUT = -8.0


def _closing(problem: _Problem, *, share: float, steps: int = 3) -> Descent:
    """Give a state some steps on, at which a share of the gates is as shut as they come."""
    way = problem.fused()
    for _ in range(steps):
        way.step(problem.price, learning_rate=0.1)
    state = way.descent()
    shut = torch.from_numpy(problem._rng(7).random(problem.units) < share)
    state.theta[1][shut] = problem.shape.reach[0]
    return state


def _walks(problem: _Problem, state: Descent) -> tuple[FusedWalk, PlainWalk]:
    plain = replace(problem.landscape, matrix=TorchMatrix(problem.matrix, device="cpu"))
    return problem.fused(state), PlainWalk(state.at(state.theta.clone()), problem.gates(), plain)


@pytest.mark.parametrize("kind", ["drawn", "expected"])
@pytest.mark.parametrize("units", [40, 3000])
def test_gates_closed_at_three_checks_in_a_row_go_for_good_in_both_walks(kind: str, units: int) -> None:
    problem = _Problem(kind=kind, units=units, rows=12)
    before = _closing(problem, share=0.6)
    shut = before.theta[1] < SHUT
    ways = _walks(problem, before)
    for way in ways:
        for check in range(1, 4):
            assert (way.descent().closed == torch.where(shut, check - 1, 0)).all()
            way.check_gates(below=SHUT, least=1)
        assert (way.descent().closed == torch.where(shut, closing.REMOVED, 0)).all()
        for _ in range(20):
            way.step(problem.price, learning_rate=0.1)
            way.check_gates(below=SHUT, least=1)
    for state in (way.descent() for way in ways):
        assert (state.closed[shut] == closing.REMOVED).all()
        assert (state.theta[:, shut] == before.theta[:, shut]).all()
        assert not state.adam.first[:, shut].any()
        assert not state.adam.second[:, shut].any()
        assert (state.theta[:, ~shut] != before.theta[:, ~shut]).float().mean() > 0.9
    fused_state, plain_state = (way.descent() for way in ways)
    assert torch.isclose(fused_state.theta, plain_state.theta, rtol=1e-3, atol=1e-3).float().mean() >= 0.99
    measured = [way.measure() for way in ways]
    assert measured[0].expected_l0 == pytest.approx(measured[1].expected_l0, rel=1e-3)
    assert measured[0].expected_l0 == pytest.approx(float(ways[0].expected_l0()), rel=1e-6)
    assert measured[0].active == pytest.approx(measured[1].active, abs=0.01 * units)
    assert (measured[0].rows - measured[1].rows).norm() <= 1e-2 * measured[1].rows.norm()


def test_a_gate_that_opens_between_two_checks_begins_anew() -> None:
    problem = _Problem(kind="expected")
    state = _closing(problem, share=1.0)
    for way in _walks(problem, state):
        way.check_gates(below=SHUT, least=1)
        way.check_gates(below=SHUT, least=1)
    reopened = replace(state, closed=torch.full_like(state.closed, 2))
    reopened.theta[1] = 0
    for way in _walks(problem, reopened):
        way.check_gates(below=SHUT, least=1)
        assert not way.descent().closed.any()


@pytest.mark.parametrize(("least", "share"), [(1, 0.2), (65, 0.6), (1, 1.0)])
def test_nothing_goes_where_it_is_not_worth_it_or_too_little_would_stay(least: int, share: float) -> None:
    problem = _Problem(kind="expected")
    for way in _walks(problem, _closing(problem, share=share)):
        for _ in range(5):
            way.check_gates(below=SHUT, least=least)
        assert bool(way.descent().left.all())


@pytest.mark.parametrize("kind", ["drawn", "expected"])
@pytest.mark.parametrize("units", [33, 3000])
def test_a_walk_that_lost_units_stops_and_goes_on_with_the_same_bits(kind: str, units: int) -> None:
    problem = _Problem(kind=kind, units=units, rows=12)
    whole = problem.fused(_closing(problem, share=0.5))
    states = []
    for done in range(30):
        whole.step(problem.price, learning_rate=0.1)
        if done % 3 == 0:
            whole.check_gates(below=SHUT, least=1)
        if done % 10 == 5:  # more close while others are gone
            state = whole.descent()
            state.theta[1][(torch.arange(units) % 4 != 3 - done // 10) & state.left] = problem.shape.reach[0]
            whole = replace(problem).fused(state)
        states.append(whole.descent())
    assert len({int(state.left.sum()) for state in states}) == 3
    for at in (2, 8, 13, 21, 26):
        way = replace(problem).fused(states[at])
        assert _bits(way.descent()) == _bits(states[at])
        for done in range(at + 1, at + 1 + 3):
            if done % 10 == 5:
                break
            way.step(problem.price, learning_rate=0.1)
            if done % 3 == 0:
                way.check_gates(below=SHUT, least=1)
            assert _bits(way.descent()) == _bits(states[done])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("units", [33, 5000])
def test_walks_that_go_together_take_the_steps_they_would_take_alone(kind: str, units: int) -> None:
    problem = _Problem(kind=kind, units=units, rows=12, without_weight=0.1)
    factors = (0.1, 1.0, 30.0)
    alone = [replace(problem).fused() for _ in factors]
    for way, factor in zip(alone, factors, strict=True):
        for _ in range(6):
            way.step(problem.price * factor, learning_rate=0.1)
    ways = [problem.fused() for _ in factors]
    together = WalksTogether(ways)
    for _ in range(6):
        together.step([problem.price * factor for factor in factors], learning_rate=0.1)
    assert [_bits(way.descent()) for way in ways] == [_bits(way.descent()) for way in alone]
    assert [float(way.expected_l0()) for way in ways] == [float(way.expected_l0()) for way in alone]
    assert [way.measure().misfit for way in ways] == [way.measure().misfit for way in alone]
    if kind != "open":
        assert len({_bits(way.descent()) for way in ways}) == len(factors)


def test_plain_walks_go_together_one_after_the_other() -> None:
    problem = _Problem(kind="expected")
    ways = [problem.plain(), problem.plain()]
    WalksTogether(ways).step([problem.price, problem.price * 2], learning_rate=0.1)
    alone = problem.plain()
    alone.step(problem.price * 2, learning_rate=0.1)
    assert [way.steps for way in ways] == [1, 1]
    assert (ways[1].descent().theta == alone.descent().theta).all()
