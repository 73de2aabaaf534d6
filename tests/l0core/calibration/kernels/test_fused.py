"""The parts of an epoch, each against the plain formula it restates; `test_walk` has the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core import hard_concrete as hc
from l0core.calibration.adam import Adam
from l0core.calibration.kernels import fused
from l0core.calibration.kernels.lanes import SUMS_A_ROW
from l0core.hard_concrete import GateMoments, GateShape

Floats = NDArray[np.float32]
PARENT, CHILD = np.array([3, 1, 0]), np.array([4, 3, 1])  # 4 within 3 within 1 within 0; 2 stands alone
seeds = st.integers(0, 2**31)


def _numbers(seed: int, *size: int) -> Floats:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def test_the_sums_of_the_blocks_are_added_and_nested_rows_complete_the_others() -> None:
    totals = np.array([[1.0, 10, 100, 1000, 10_000], [1, 1, 1, 1, 1]])
    rows = fused.gather_up(totals, PARENT, CHILD)
    assert rows.dtype == np.float64
    assert rows.tolist() == [11_015, 11_013, 101, 11_002, 10_001]


def test_a_row_s_several_sums_are_one_number_in_float64() -> None:
    sums, total = np.full(3 * SUMS_A_ROW, 1, dtype=np.float32), np.full(3, np.nan)
    sums[SUMS_A_ROW] = 2**25  # to which float32 would add nothing
    fused.fold(sums, total)
    assert total.tolist() == [SUMS_A_ROW, 2**25 + SUMS_A_ROW - 1, SUMS_A_ROW]


def test_what_a_row_passes_on_reaches_the_rows_nested_in_it() -> None:
    by_row = np.array([1.0, 10, 100, 1000, 10_000])
    rows = fused.spread_down(by_row, PARENT, CHILD)
    assert rows.dtype == np.float32
    assert rows.tolist() == [1, 11, 100, 1011, 11_011]
    assert by_row.tolist() == [1, 10, 100, 1000, 10_000]


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_gathering_up_and_spreading_down_are_adjoint(seed: int) -> None:
    totals, by_row = _numbers(seed, 3, 5).astype(np.float64), _numbers(seed + 1, 5).astype(np.float64)
    own = totals.sum(axis=0)
    up = fused.gather_up(totals, PARENT, CHILD) @ by_row
    down = own @ fused.spread_down(by_row, PARENT, CHILD).astype(np.float64)
    assert up == pytest.approx(down, abs=1e-4)


SHAPES = [GateShape(beta=0.1), GateShape(beta=0.5), GateShape(beta=2.0, gamma=-0.3, zeta=1.05)]


def _cells(log_alpha: Floats, at: tuple[np.float32, ...], cells: int) -> tuple[NDArray[np.int32], Floats]:
    """Place the locations, of which there are as many as fill whole slices."""
    cell, past = np.empty(log_alpha.size, dtype=np.int32), np.empty_like(log_alpha)
    fused.placed(log_alpha, at, cells, cell, past)
    return cell, past


@pytest.mark.parametrize("shape", SHAPES)
def test_the_place_in_the_table_is_the_point_also_outside_of_it(shape: GateShape) -> None:
    """In the middle of every cell, where rounding picks no other one, and far outside the table."""
    moments = GateMoments(shape, device="cpu", dtype=torch.float64)
    points = moments.table.shape[1]
    middles = moments.low + moments.step * (np.arange(points - 1) + 0.4)
    log_alpha = np.concatenate([middles, [-1e30, -100, 100, 1e30, -np.inf, np.inf]]).astype(np.float32)
    at = tuple(np.float32(number) for number in (moments.low, 1 / moments.step, moments.step))
    cell, past = _cells(log_alpha, at, points - 1)
    lowest, highest = 0, points - 2
    assert cell.tolist() == [*range(points - 1), lowest, lowest, highest, highest, lowest, highest]
    np.testing.assert_allclose(past[: points - 1], 0.4 * moments.step, rtol=0, atol=4e-6)
    np.testing.assert_allclose(past[points - 1 :], np.array([0, 0, 1, 1, 0, 1]) * moments.step, rtol=0, atol=1e-5)


def test_a_location_that_is_no_number_has_a_cell_and_no_place_in_it() -> None:
    at = (np.float32(0), np.float32(1), np.float32(1))
    cell, past = _cells(np.array([np.nan], dtype=np.float32), at, 3)
    assert cell.tolist() == [0]
    assert np.isnan(past).all()


@settings(deadline=None, max_examples=50)
@given(seed=seeds, shape=st.sampled_from(SHAPES))
def test_a_drawn_gate_and_its_slope_are_those_of_hard_concrete(seed: int, shape: GateShape) -> None:
    z = _numbers(seed, 500) * 3
    s = torch.sigmoid(torch.tensor(z, dtype=torch.float64) / shape.beta)
    value, slope, drawn = np.empty_like(z), np.empty_like(z), s.float().numpy()
    gamma, width = np.float32(shape.gamma), np.float32(shape.zeta - shape.gamma)
    fused.clipped(drawn, gamma, width, value)
    fused._clipped_slope(drawn, gamma, width, np.float32(1 / shape.beta), slope)
    wanted, wanted_slope = hc.draw(torch.zeros(500, dtype=torch.float64), torch.tensor(z, dtype=torch.float64), shape)
    np.testing.assert_allclose(value, wanted.numpy(), rtol=0, atol=3e-7)
    steady = ((wanted < 1e-6) == (wanted == 0)) & ((wanted > 1 - 1e-6) == (wanted == 1))  # not at an end to rounding
    np.testing.assert_allclose(slope[steady.numpy()], wanted_slope[steady].numpy(), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, steps=st.integers(1, 6), rate=st.sampled_from([1e-3, 0.1, 2.0]))
def test_a_step_is_adam_s_within_the_bounds(seed: int, steps: int, rate: float) -> None:
    low, high = -1.0, 1.5
    parameter, first, second = np.clip(_numbers(seed, 50), low, high), np.zeros(50, "f4"), np.zeros(50, "f4")
    theta = torch.tensor(parameter, dtype=torch.float64)
    adam = Adam.for_parameter(theta)
    for step in range(1, steps + 1):
        gradient = _numbers(seed + step, 50)
        pace, correction = np.float32(rate / (1 - 0.9**step)), np.float32(1 / (1 - 0.999**step))
        fused._adam(parameter, first, second, gradient, pace, correction, np.float32(low), np.float32(high))
        adam.step(theta, torch.tensor(gradient, dtype=torch.float64), step=step, learning_rate=rate)
        theta.clamp_(low, high)
    np.testing.assert_allclose(parameter, theta.numpy(), rtol=0, atol=1e-5 * max(1, rate))
    np.testing.assert_allclose(first, adam.first.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second, adam.second.numpy(), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(log_alpha=st.floats(-40, 40, width=32), threshold=st.floats(-3, 0, width=32))
def test_the_price_pulls_as_the_probability_s_slope_also_where_it_is_next_to_1(
    log_alpha: float, threshold: float
) -> None:
    found = np.zeros(1, dtype=np.float32)
    fused._add_price(np.array([log_alpha], dtype=np.float32), np.float32(threshold), np.float32(3), found)
    away = np.exp(-abs(float(np.float32(log_alpha - threshold))))
    assert float(found[0]) == pytest.approx(3 * away / (1 + away) ** 2, rel=1e-5)
