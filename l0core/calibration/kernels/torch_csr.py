"""The matrix in torch: compressed rows for A w, and its transpose, prepared once, for A' r. No autograd."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

_WORTH_TWO_THREADS = (
    1_000_000  # nonzeros; below, waking threads costs more than they save, 2-10 times on a busy machine
)


@contextmanager
def threads_for(matrix: sp.csr_array) -> Iterator[None]:
    """Run on one thread where the matrix is too small to share, and leave torch's setting as it was."""
    before = torch.get_num_threads()
    if matrix.nnz < _WORTH_TWO_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchMatrix:
    """A (rows x n) in float32 on `device`, readable in both directions by rows."""

    def __init__(self, matrix: sp.csr_array, *, device: str) -> None:
        self._rows = _csr(matrix, device)
        self._columns = _csr(sp.csr_array(matrix.T), device)

    def times(self, weights: Tensor) -> Tensor:
        """Give A w."""
        return self._rows @ weights

    def transposed_times(self, residual: Tensor) -> Tensor:
        """Give A' r."""
        return self._columns @ residual


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
