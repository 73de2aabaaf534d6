"""The matrix in torch gives the products of the matrix it was made from."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.calibration.kernels.torch_csr import _WORTH_TWO_THREADS, TorchMatrix, product, threads_for


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 8), columns=st.integers(1, 20), density=st.floats(0, 1))
def test_both_products_are_those_of_the_dense_matrix(seed: int, rows: int, columns: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < density)
    weights, residual = rng.normal(size=columns), rng.normal(size=rows)
    matrix = TorchMatrix(sp.csr_array(dense), device="cpu")
    for found, expected, size in (
        (matrix.times(torch.tensor(weights, dtype=torch.float32)), dense @ weights, rows),
        (matrix.transposed_times(torch.tensor(residual, dtype=torch.float32)), dense.T @ residual, columns),
    ):
        assert (found.dtype, found.shape) == (torch.float32, (size,))
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=2e-5)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 8), columns=st.integers(1, 20))
def test_the_product_has_torch_s_value_and_derivatives_of_both_orders(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.5)
    values, weighing = rng.normal(size=columns), torch.tensor(rng.normal(size=rows), dtype=torch.float32)
    found = []
    for times in (
        lambda w: product(TorchMatrix(sp.csr_array(dense), device="cpu"), w),
        lambda w: torch.tensor(dense, dtype=torch.float32) @ w,
    ):
        weights = torch.tensor(values, dtype=torch.float32, requires_grad=True)
        estimate = times(weights.exp())
        (slope,) = torch.autograd.grad((weighing * estimate**2).sum(), weights, create_graph=True)
        (curve,) = torch.autograd.grad(slope.sum(), weights)
        found.append(torch.cat([estimate, slope, curve]).detach())
    scale = float(found[1].abs().max())
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5 * scale)


def test_without_gradients_a_product_asks_for_none() -> None:
    matrix = TorchMatrix(sp.csr_array(np.eye(2)), device="cpu")
    assert not product(matrix, torch.ones(2)).requires_grad
    assert product(matrix, torch.ones(2, requires_grad=True)).requires_grad


def test_a_small_matrix_is_worked_on_by_one_thread_and_the_setting_comes_back() -> None:
    before = torch.get_num_threads()
    with threads_for(sp.csr_array(np.ones((2, 2)))):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_large_matrix_is_worked_on_by_all_threads() -> None:
    before = torch.get_num_threads()
    with threads_for(sp.csr_array(np.ones((1, _WORTH_TWO_THREADS)))):
        assert torch.get_num_threads() == before


def test_the_setting_comes_back_after_an_error_too() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads_for(sp.csr_array(np.ones((2, 2)))):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
