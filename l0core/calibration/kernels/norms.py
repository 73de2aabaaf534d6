"""Sums over the columns of a matrix that lies in rows."""

from l0core.calibration.kernels.compiling import compiled


@compiled
def add_squares(indptr, indices, data, factor, norms):
    """Add (factor_i M_ij)^2 to `norms[j]`, row by row."""
    for i in range(factor.size):
        for k in range(indptr[i], indptr[i + 1]):
            entry = factor[i] * data[k]
            norms[indices[k]] += entry * entry
