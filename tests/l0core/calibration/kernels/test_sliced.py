"""Both products of the matrix in slices are the exact ones to float32's rounding, on any number of threads."""

from collections.abc import Iterator

import numba
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from l0core.calibration.kernels import matrix_on
from l0core.calibration.kernels.sliced import SlicedMatrix
from l0core.calibration.kernels.torch_csr import TorchMatrix


@pytest.fixture
def most_threads() -> Iterator[int]:
    """Give how many threads there are by default, and leave them so."""
    before: int = numba.get_num_threads()
    yield before
    numba.set_num_threads(before)


def _stacked(seed: int, rows: int, columns: int, density: float) -> sp.csr_array:
    """Give random rows, and some that are the sum of others: what a survey with totals of totals has."""
    rng = np.random.default_rng(seed)
    base = sp.csr_array(sp.random_array((rows, columns), density=density, rng=rng))
    base.data = rng.normal(size=base.nnz).astype(np.float32).astype(np.float64)
    part = sp.csr_array(base @ sp.diags_array((rng.random(columns) < 0.5) * 1.0))
    part.eliminate_zeros()
    return sp.csr_array(sp.vstack([base, part]))


def _error(found: Tensor, matrix: sp.csr_array, numbers: Tensor) -> float:
    """Give the relative norm of the error; relative to what the sum is made of, where it cancels."""
    vector: NDArray[np.float64] = numbers.double().numpy()
    assert found.dtype == torch.float32
    made_of = float(np.linalg.norm(abs(matrix) @ abs(vector)))
    return float(np.linalg.norm(found.double().numpy() - matrix @ vector)) / max(made_of, 1e-300)


def _numbers(seed: int, size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def _check(matrix: sp.csr_array, seed: int) -> None:
    sliced = SlicedMatrix(matrix)
    weights, residual = _numbers(seed, matrix.shape[1]), _numbers(seed + 1, matrix.shape[0])
    assert _error(sliced.times(weights), matrix, weights) <= 1e-6
    assert _error(sliced.transposed_times(residual), sp.csr_array(matrix.T), residual) <= 1e-6


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 30), columns=st.integers(1, 200), density=st.floats(0, 1))
def test_both_products_are_the_exact_ones_to_rounding(seed: int, rows: int, columns: int, density: float) -> None:
    _check(_stacked(seed, rows, columns, density), seed)


@pytest.mark.parametrize(
    ("rows", "columns", "density"),
    [(2, 150_000, 0.9), (65_537, 40, 0.01), (40_000, 100, 0.01), (200, 5000, 0.3)],
    ids=["blocks of several chunks", "wide row numbers", "wide once stacked", "survey"],
)
def test_large_products_too(rows: int, columns: int, density: float) -> None:
    _check(_stacked(1, rows, columns, density), 1)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 33), (200, 5000), (2, 150_000)])
def test_the_bits_do_not_depend_on_the_threads(rows: int, columns: int, most_threads: int) -> None:
    matrix = SlicedMatrix(_stacked(2, rows, columns, 0.3))
    weights, residual = _numbers(1, columns), _numbers(2, 2 * rows)
    found = []
    for threads in (1, most_threads):
        numba.set_num_threads(threads)
        found.append((matrix.times(weights), matrix.transposed_times(residual)))
    (times, transposed), (times_too, transposed_too) = found
    assert torch.equal(times, times_too)
    assert torch.equal(transposed, transposed_too)


def test_a_product_is_not_overwritten_by_the_next() -> None:
    matrix = SlicedMatrix(_stacked(3, 4, 50, 0.5))
    first = matrix.times(_numbers(1, 50))
    kept = first.clone()
    matrix.times(_numbers(2, 50))
    assert torch.equal(first, kept)


def test_a_weight_that_is_no_number_reaches_the_rows_it_counts_in() -> None:
    dense = np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 4.0], [5.0, 0.0, 0.0]])
    found = SlicedMatrix(sp.csr_array(dense)).times(torch.tensor([1.0, 1.0, torch.nan]))
    assert found[1].isnan()
    assert found[2] == 5


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (3, 70)])
def test_a_matrix_without_entries_gives_zeros(shape: tuple[int, int]) -> None:
    matrix = SlicedMatrix(sp.csr_array(shape))
    assert torch.equal(matrix.times(torch.ones(shape[1])), torch.zeros(shape[0]))
    assert torch.equal(matrix.transposed_times(torch.ones(shape[0])), torch.zeros(shape[1]))


def test_float64_numbers_that_want_a_gradient_are_taken_as_they_are() -> None:
    weights = torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert SlicedMatrix(sp.csr_array(np.eye(3))).times(weights).tolist() == [1, 1, 1]


def test_the_processor_gets_slices_and_any_other_device_torch_s_rows() -> None:
    assert isinstance(matrix_on(torch.device("cpu"), sp.csr_array(np.eye(2))), SlicedMatrix)
    assert isinstance(matrix_on(torch.device("meta"), sp.csr_array(np.eye(2))), TorchMatrix)
