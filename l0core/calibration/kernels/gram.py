"""A diag(s) A' of a sparse matrix, row by row, into a dense triangle or into a sparse pattern that is known.

Each row of the product is the work of one thread and is added up in the order of its entries, so that the bits do not
depend on the number of threads.
"""

import numpy as np
from numba import prange

from l0core.calibration.kernels.compiling import compiled_parallel


@compiled_parallel
def add_products(indptr, indices, data, column_start, row, entry, slope, gram):
    """Add to the lower triangle of `gram`, which lies in columns: row i of A gives column i."""
    for i in prange(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            value = data[p] * slope[j]
            if value != 0.0:
                for at in range(column_start[j], column_start[j + 1]):
                    if row[at] >= i:
                        gram[row[at], i] += value * entry[at]


@compiled_parallel
def products_in_pattern(indptr, indices, data, column_start, row, entry, slope, start, other, out):
    """Give in `out` the entries of the product at row i, columns `other[start[i]:start[i + 1]]`."""
    for i in prange(indptr.size - 1):
        sums = np.zeros(indptr.size - 1)
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            value = data[p] * slope[j]
            if value != 0.0:
                for at in range(column_start[j], column_start[j + 1]):
                    sums[row[at]] += value * entry[at]
        for at in range(start[i], start[i + 1]):
            out[at] = sums[other[at]]
