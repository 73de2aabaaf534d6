"""The matrix and one epoch over it: `sliced` and `fused` on the CPU (numba), `torch_csr` on any torch device."""

import scipy.sparse as sp
import torch

from l0core.calibration.kernels.sliced import SlicedMatrix
from l0core.calibration.kernels.torch_csr import TorchMatrix


def matrix_on(device: torch.device, matrix: sp.csr_array) -> SlicedMatrix | TorchMatrix:
    """Lay out a canonical matrix (sorted columns, no entry twice) for `device`."""
    return SlicedMatrix(matrix) if device.type == "cpu" else TorchMatrix(matrix, device=str(device))
