"""The two loops written for the back end do what the plain loops of the module's docstring do."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.calibration.kernels.compiling import compiled
from l0core.calibration.kernels.lanes import LANES, SUMS_A_ROW, look_up_means, look_up_moments, pull_slice, push_slice

Floats = NDArray[np.float32]
Rows = NDArray[np.uint16] | NDArray[np.uint32]
ROWS = 9


def _one_pull(data: Any, row: Any, begin: Any, end: Any, residual: Any, out: Any, at: Any) -> None:
    pull_slice(data, row, begin, end, residual, out, at)


def _one_push(data: Any, row: Any, begin: Any, end: Any, weight: Any, at: Any, total: Any) -> None:
    push_slice(data, row, begin, end, weight, at, total)


def _means(table: Any, cell: Any, past: Any, mean: Any) -> None:
    look_up_means(table, cell, past, mean)


def _moments(table: Any, cell: Any, past: Any, mean: Any, slope: Any, variance: Any, variance_slope: Any) -> None:
    look_up_moments(table, cell, past, mean, slope, variance, variance_slope)


_pull, _push = compiled(_one_pull), compiled(_one_push)
_looked_up_means, _looked_up_moments = compiled(_means), compiled(_moments)
widths = st.sampled_from([np.uint16, np.uint32])


def _numbers(rng: np.random.Generator, size: int, *, skip: int) -> Floats:
    """Give numbers that begin in the middle of memory: at an address that is a multiple of 4 bytes and no more."""
    return rng.normal(size=size + skip).astype(np.float32)[skip:]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31), longest=st.integers(0, 5), before=st.integers(0, 3), skip=st.integers(0, 9), w=widths
)
def test_both_loops_are_the_plain_ones(seed: int, longest: int, before: int, skip: int, w: type[np.uint16]) -> None:
    rng = np.random.default_rng(seed)
    begin, end, at = before * LANES, (before + longest) * LANES, skip
    data = _numbers(rng, end, skip=skip)
    row = rng.integers(0, ROWS, end + skip).astype(w)[skip:]
    residual, weight = _numbers(rng, ROWS, skip=skip), _numbers(rng, at + LANES, skip=skip)
    out, total = _numbers(rng, at + LANES + 3, skip=0), _numbers(rng, ROWS * SUMS_A_ROW, skip=skip)
    pulled, pushed = out.astype(np.float64), total.astype(np.float64)
    pulled[at : at + LANES] = 0
    for k in range(begin, end, LANES):
        for lane in range(LANES):
            value, i = float(data[k + lane]), int(row[k + lane])
            pulled[at + lane] += value * residual[i]
            pushed[SUMS_A_ROW * i + lane % SUMS_A_ROW] += value * weight[at + lane]
    _pull(data, row, begin, end, residual, out, at)
    _push(data, row, begin, end, weight, at, total)
    np.testing.assert_allclose(out, pulled, rtol=0, atol=1e-5)
    np.testing.assert_allclose(total, pushed, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("last", "w"), [(65_535, np.uint16), (65_536, np.uint32), (1_000_000, np.uint32)])
def test_the_last_row_is_reached(last: int, w: type[np.uint16]) -> None:
    data, row = np.ones(LANES, dtype=np.float32), np.full(LANES, last, dtype=w)
    residual, total = np.zeros(last + 1, dtype=np.float32), np.zeros((last + 1) * SUMS_A_ROW, dtype=np.float32)
    residual[last] = 3
    out = np.empty(LANES, dtype=np.float32)
    _pull(data, row, 0, LANES, residual, out, 0)
    _push(data, row, 0, LANES, np.ones(LANES, dtype=np.float32), 0, total)
    assert out.tolist() == [3] * LANES
    assert total.nonzero()[0].tolist() == list(range(last * SUMS_A_ROW, (last + 1) * SUMS_A_ROW))
    assert total.sum() == LANES


def test_lanes_that_all_add_to_one_row_lose_nothing() -> None:
    data, row = np.ones(3 * LANES, dtype=np.float32), np.zeros(3 * LANES, dtype=np.uint16)
    weight, total = np.arange(LANES, dtype=np.float32), np.zeros(SUMS_A_ROW, dtype=np.float32)
    _push(data, row, 0, 3 * LANES, weight, 0, total)
    assert total.sum() == 3 * weight.sum()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), slices=st.integers(0, 3), skip=st.integers(0, 9))
def test_moments_are_looked_up_in_their_own_columns(seed: int, slices: int, skip: int) -> None:
    rng, cells, n = np.random.default_rng(seed), 50, slices * LANES
    table, past = rng.normal(size=(cells, 4)).astype(np.float32), _numbers(rng, n, skip=skip)
    cell = rng.integers(0, cells, n + skip).astype(np.int32)[skip:]
    mean, slope, variance, variance_slope, alone = (_numbers(rng, n, skip=skip) for _ in range(5))
    _looked_up_moments(table, cell, past, mean, slope, variance, variance_slope)
    _looked_up_means(table, cell, past, alone)
    wanted = table[cell].astype(np.float64)
    np.testing.assert_allclose(mean, wanted[:, 0] + past * wanted[:, 1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(variance, wanted[:, 2] + past * wanted[:, 3], rtol=0, atol=1e-6)
    assert (slope == table[cell, 1]).all()
    assert (variance_slope == table[cell, 3]).all()
    assert (alone == mean).all()
