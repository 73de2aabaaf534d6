"""Sums of squared entries of a matrix that lies in rows: by column, and by row."""

import numpy as np
import scipy.sparse as sp

from l0core.arrays import FloatArray
from l0core.calibration.kernels.compiling import compiled


def squared_norms(matrix: sp.csr_array, factor: FloatArray) -> FloatArray:
    """Give ||a_j||^2 of the columns of diag(factor) matrix.

    >>> squared_norms(sp.csr_array(np.array([[1.0, 0.0], [2.0, 3.0]])), np.array([1.0, 0.5])).tolist()
    [2.0, 2.25]
    """
    norms = np.zeros(matrix.shape[1])
    _add_squares(matrix.indptr, matrix.indices, matrix.data, factor, norms)
    return norms


def squared_products(matrix: sp.csr_array, by_column: FloatArray) -> FloatArray:
    """Give sum_j M_ij^2 x_j of every row.

    >>> squared_products(sp.csr_array(np.array([[1.0, 0.0], [2.0, 3.0]])), np.array([1.0, 0.5])).tolist()
    [1.0, 8.5]
    """
    sums = np.zeros(matrix.shape[0])
    _sum_squares(matrix.indptr, matrix.indices, matrix.data, by_column, sums)
    return sums


@compiled
def _sum_squares(indptr, indices, data, by_column, sums):
    for i in range(sums.size):
        total = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            total += data[k] * data[k] * by_column[indices[k]]
        sums[i] = total


@compiled
def _add_squares(indptr, indices, data, factor, norms):
    """Add (factor_i M_ij)^2 to `norms[j]`, row by row."""
    for i in range(factor.size):
        for k in range(indptr[i], indptr[i + 1]):
            entry = factor[i] * data[k]
            norms[indices[k]] += entry * entry
