"""Every entry lies at its lane and row once, padding is zero, and lanes and units translate into one another."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.calibration.kernels.lanes import LANES
from l0core.calibration.kernels.slices import Slices, slices_of

Dense = NDArray[np.float64]


def _random(seed: int, rows: int, columns: int, density: float) -> Dense:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 100, (rows, columns)).astype(np.float64)
    return values * (rng.random((rows, columns)) < density * rng.random(columns))


def _read_back(slices: Slices) -> tuple[Dense, int]:
    """Give the matrix that the lanes hold, and how many entries they have in use."""
    dense = np.zeros((slices.n_rows, slices.n_columns))
    for place, unit in enumerate(slices.unit):
        here = slice(slices.start[place // LANES] + place % LANES, slices.start[place // LANES + 1], LANES)
        values, rows = slices.data[here], slices.row[here]
        used = np.count_nonzero(values)
        assert not values[used:].any()  # padding comes last
        assert not rows[used:].any()
        if unit < 0:
            assert used == 0
        else:
            np.add.at(dense[:, unit], rows[:used], values[:used])
    return dense, int(np.count_nonzero(slices.data))


def _uncovered(matrix: sp.csr_array, slices: Slices) -> sp.csr_array:
    return sp.csr_array((matrix.data * ~slices.nesting.covered, matrix.indices, matrix.indptr), shape=matrix.shape)


shapes = given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 12),
    columns=st.sampled_from([1, 2, 31, 32, 33, 64, 65, 100, 1500]),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)


@settings(deadline=None, max_examples=100)
@shapes
def test_every_entry_that_is_not_covered_lies_at_its_lane_and_row(
    seed: int, rows: int, columns: int, density: float
) -> None:
    dense = _random(seed, rows, columns, density)
    dense[rng_rows(seed, rows)] = np.ones(columns)  # something to be covered too
    matrix = sp.csr_array(dense)
    slices = slices_of(matrix)
    found, used = _read_back(slices)
    assert (found == _uncovered(matrix, slices).toarray()).all()
    assert used == matrix.nnz - slices.nesting.covered.sum()


def rng_rows(seed: int, rows: int) -> list[int]:
    return sorted(set(np.random.default_rng(seed).integers(0, rows, rows // 3).tolist()))


@settings(deadline=None, max_examples=50)
@shapes
def test_lanes_are_a_permutation_of_the_units_by_falling_number_of_entries(
    seed: int, rows: int, columns: int, density: float
) -> None:
    matrix = sp.csr_array(_random(seed, rows, columns, density))
    slices = slices_of(matrix)
    assert slices.n_lanes % LANES == 0
    assert 0 <= slices.n_lanes - columns < LANES
    assert sorted(slices.unit[:columns]) == list(range(columns))
    assert (slices.unit[columns:] == -1).all()
    counts = (_uncovered(matrix, slices).toarray() != 0).sum(axis=0)[slices.unit[:columns]]
    assert (np.diff(counts) <= 0).all()
    assert (np.diff(slices.start) == LANES * counts[::LANES]).all()


@settings(deadline=None, max_examples=50)
@shapes
def test_the_blocks_hold_all_slices_in_their_order(seed: int, rows: int, columns: int, density: float) -> None:
    slices = slices_of(sp.csr_array(_random(seed, rows, columns, density)))
    assert slices.blocks.size == 33
    assert (slices.blocks[0], slices.blocks[-1]) == (0, slices.n_lanes // LANES)
    assert (np.diff(slices.blocks) >= 0).all()
    assert slices.totals().shape == (32, rows)


def test_blocks_have_about_the_same_work() -> None:
    slices = slices_of(sp.csr_array(_random(1, 40, 20_000, 0.5)))
    entries, units = np.diff(slices.start[slices.blocks]), np.diff(slices.blocks) * LANES
    work = entries + 10 * units  # a unit's step takes as long as ten entries
    assert work.max() <= work.mean() + LANES * (40 + 10)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), columns=st.integers(1, 200))
def test_collecting_undoes_spreading(seed: int, columns: int) -> None:
    slices = slices_of(sp.csr_array(_random(seed, 3, columns, 0.5)))
    by_unit = np.random.default_rng(seed).normal(size=columns).astype(np.float32)
    lanes = slices.spread(by_unit, -7.0)
    assert (lanes[slices.unit >= 0] == by_unit[slices.unit[slices.unit >= 0]]).all()
    assert (lanes[slices.unit < 0] == -7).all()
    back = np.full(columns, np.nan, dtype=np.float32)
    slices.collect(lanes, back)
    assert (back == by_unit).all()


def _columns(slices: Slices) -> NDArray[np.float64]:
    """Write the columns out again, dense."""
    dense = np.zeros((slices.n_rows, slices.n_columns))
    for lane in np.flatnonzero(slices.unit >= 0):
        s = lane // LANES
        entries = slice(slices.start[s] + lane % LANES, slices.start[s + 1], LANES)
        np.add.at(dense[:, slices.unit[lane]], slices.row[entries], slices.data[entries])
    return dense


def _bits(slices: Slices) -> tuple[bytes, ...]:
    arrays = (slices.data, slices.row, slices.start, slices.unit, slices.blocks)
    return tuple(array.tobytes() for array in arrays)


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**31),
    columns=st.integers(1, 200),
    density=st.sampled_from([0.1, 0.5, 1.0]),
    share=st.floats(0, 1),
    steps=st.integers(1, 4),
)
def test_what_is_kept_is_the_same_columns_however_many_steps_it_took(
    seed: int, columns: int, density: float, share: float, steps: int
) -> None:
    matrix = sp.csr_array(_random(seed, 6, columns, density))
    rng, kept = np.random.default_rng(seed), np.ones(columns, dtype=bool)
    whole = slices = slices_of(matrix)
    dense = _columns(whole)
    for _ in range(steps):
        kept &= rng.random(columns) >= share
        slices = slices.keeping(slices.spread(kept, False))
    assert slices.n_held == kept.sum()
    assert sorted(slices.unit[slices.unit >= 0]) == np.flatnonzero(kept).tolist()
    assert (_columns(slices) == dense * kept).all()
    at_once = slices_of(matrix)
    assert _bits(slices) == _bits(at_once.keeping(at_once.spread(kept, False)))
    assert slices.blocks[-1] == slices.n_lanes // LANES


@pytest.mark.parametrize(("rows", "width"), [(65_535, np.uint16), (65_536, np.uint16), (65_537, np.uint32)])
def test_row_numbers_take_two_bytes_as_long_as_they_fit(rows: int, width: type) -> None:
    matrix = sp.csr_array((np.arange(1.0, 4), ([0, rows - 2, rows - 1], [0, 1, 1])), shape=(rows, 2))
    slices = slices_of(matrix)
    assert slices.row.dtype == width
    assert slices.n_bytes == slices.data.size * (4 + np.dtype(width).itemsize)
    lane = int(np.flatnonzero(slices.unit == 1)[0])
    assert slices.row[lane::LANES].tolist() == [rows - 2, rows - 1]
    assert slices.data[lane::LANES].tolist() == [2, 3]


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("value", [np.float32, np.float64])
def test_the_layout_depends_on_the_numbers_alone(index: type, value: type) -> None:
    plain = sp.csr_array(_random(5, 7, 90, 0.6))
    other: sp.csr_array = sp.csr_array(
        (plain.data.astype(value), plain.indices.astype(index), plain.indptr.astype(index)), shape=plain.shape
    )
    one, two = slices_of(plain), slices_of(other)
    for name in ("data", "row", "start", "unit", "blocks"):
        assert (getattr(one, name) == getattr(two, name)).all()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (4, 40)])
def test_a_matrix_without_entries_has_lanes_without_any(shape: tuple[int, int]) -> None:
    slices = slices_of(sp.csr_array(shape))
    assert (slices.data.size, slices.n_columns, slices.blocks[-1]) == (0, shape[1], slices.n_lanes // LANES)


def test_survey_columns_waste_little_on_padding() -> None:
    slices = slices_of(sp.csr_array(_random(2, 60, 20_000, 0.8)))
    assert slices.data.size <= 1.01 * np.count_nonzero(slices.data)
