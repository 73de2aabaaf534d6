"""The matrix on the CPU, read in slices: M w and M' r, and the arrays the fused epoch works on."""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0core.calibration.kernels import fused
from l0core.calibration.kernels.slices import Slices, slices_of

Floats = NDArray[np.float32]


class SlicedMatrix:
    """M (rows x n) in float32, for both products; the same bits for any number of threads."""

    def __init__(self, matrix: sp.csr_array) -> None:
        self.slices: Slices = slices_of(matrix)
        self._totals = self.slices.totals()

    def times(self, weights: Tensor) -> Tensor:
        """Give M w."""
        s = self.slices
        fused.push(s.data, s.row, s.start, s.blocks, s.spread(_floats(weights), 0.0), self._totals)
        rows = fused.gather_up(self._totals, s.nesting.parent, s.nesting.child)
        return torch.from_numpy(rows.astype(np.float32))

    def transposed_times(self, residual: Tensor) -> Tensor:
        """Give M' r."""
        s = self.slices
        rows = fused.spread_down(_floats(residual).astype(np.float64), s.nesting.parent, s.nesting.child)
        pulled = np.empty(s.n_lanes, dtype=np.float32)
        fused.pull(s.data, s.row, s.start, s.blocks, rows, pulled)
        by_unit = np.zeros(s.n_columns, dtype=np.float32)
        s.collect(pulled, by_unit)
        return torch.from_numpy(by_unit)

    def keep(self, units: Tensor) -> None:
        """Hold the columns of these units alone (N booleans); the others count as empty from now on."""
        self.slices = self.slices.keeping(self.slices.spread(units.numpy(), False))


def _floats(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)
