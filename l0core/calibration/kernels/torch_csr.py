"""The matrix in torch: compressed rows for A w, and its transpose, made at its first use, for A' r."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol

import numba
import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

_WORTH_TWO_THREADS = 200_000  # nonzeros; below, waking threads costs more than they save, 2-10 times on a busy machine


@contextmanager
def threads_for(matrix: sp.csr_array) -> Iterator[None]:
    """Run on one thread where the matrix is too small to share, and leave torch's and numba's settings as they were."""
    before, kernel_before = torch.get_num_threads(), numba.get_num_threads()
    if matrix.nnz < _WORTH_TWO_THREADS:
        torch.set_num_threads(1)
        numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        numba.set_num_threads(kernel_before)


class TorchMatrix:
    """A (rows x n) in float32 on `device`, readable in both directions by rows."""

    def __init__(self, matrix: sp.csr_array, *, device: str) -> None:
        self._matrix, self._device = matrix, device

    @cached_property
    def _rows(self) -> Tensor:
        return _csr(self._matrix, self._device)

    @cached_property
    def _columns(self) -> Tensor:
        return _csr(sp.csr_array(self._matrix.T), self._device)

    def times(self, weights: Tensor) -> Tensor:
        """Give A w."""
        return self._rows @ weights

    def transposed_times(self, residual: Tensor) -> Tensor:
        """Give A' r."""
        return self._columns @ residual

    def keep(self, units: Tensor) -> None:
        """Hold the columns of these units alone (n booleans); the others are empty from now on."""
        held = sp.csr_array(self._matrix @ sp.diags_array(units.double().cpu().numpy()))
        held.eliminate_zeros()
        self._matrix = held
        for made in ("_rows", "_columns"):
            self.__dict__.pop(made, None)


class Products(Protocol):
    """A matrix that can be multiplied from both sides."""

    def times(self, weights: Tensor) -> Tensor:
        """Give A w."""
        ...

    def transposed_times(self, residual: Tensor) -> Tensor:
        """Give A' r."""
        ...


def product(matrix: Products, weights: Tensor) -> Tensor:
    """Give A w, differentiable in the weights."""
    apply: Callable[[Tensor, Products], Tensor] = _Product.apply
    return apply(weights, matrix)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, matrix: Products) -> Tensor:
        ctx.matrix = matrix
        return matrix.times(weights)

    @staticmethod
    def backward(ctx: Any, by_product: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix.transposed_times(by_product), None


def _csr(matrix: sp.csr_array, device: str) -> Tensor:
    with warnings.catch_warnings():  # torch calls its CSR layout a beta at the first use
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        return torch.sparse_csr_tensor(
            torch.as_tensor(matrix.indptr.astype(np.int64)),
            torch.as_tensor(matrix.indices.astype(np.int64)),
            torch.as_tensor(matrix.data.astype(np.float32)),
            size=matrix.shape,
            device=device,
            check_invariants=False,  # the problem was validated when it was built
        )
