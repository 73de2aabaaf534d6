"""How much of a sparse symmetric matrix fills when it is factored, found without factoring it."""

import numpy as np

from l0core.calibration.kernels.compiling import compiled


@compiled
def fill_counts(indptr, indices, most):
    """Give the nonzeros of each column of the Cholesky factor, rows eliminated in order; none where they pass `most`.

    `indptr`, `indices`: pattern of the matrix by rows, both triangles. Row i fills along the paths of the elimination
    tree from each of its entries to i (Davis, Direct Methods for Sparse Linear Systems, 2006, section 4.1).
    """
    n = indptr.size - 1
    parent, ancestor, mark = np.full(n, -1), np.full(n, -1), np.full(n, -1)
    for i in range(n):
        for p in range(indptr[i], indptr[i + 1]):
            k = indices[p]
            while k != -1 and k < i:
                above = ancestor[k]
                ancestor[k] = i
                if above == -1:
                    parent[k] = i
                k = above
    count, total = np.ones(n, np.int64), n
    for i in range(n):
        mark[i] = i
        for p in range(indptr[i], indptr[i + 1]):
            k = indices[p]
            while k < i and mark[k] != i:
                mark[k] = i
                count[k] += 1
                total += 1
                k = parent[k]
        if total > most:
            return count[:0]
    return count
