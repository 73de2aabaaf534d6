"""A'A of a few sparse columns, written straight into a dense matrix."""

from l0core.calibration.kernels.compiling import compiled


@compiled
def add_products(indptr, indices, data, kept, factor, gram):
    """Add factor a_j a_j' of the columns `kept` (a CSR matrix of columns) to the lower triangle of `gram`."""
    for number in range(kept.size):
        j = kept[number]
        for first in range(indptr[j], indptr[j + 1]):
            i, value = indices[first], factor * data[first]
            for second in range(indptr[j], indptr[j + 1]):
                if indices[second] >= i:
                    gram[indices[second], i] += value * data[second]
