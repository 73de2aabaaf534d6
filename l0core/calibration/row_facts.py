"""What every row of a matrix is like, in one pass over its nonzeros: the ground of the structural findings."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.matrices import runs_of_rows

Hashes = NDArray[np.uint64]
_EXACT = 2.0**-53  # the top 53 bits of a hash as a number from 0 to 1
_ODD = tuple(map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)))  # of splitmix64
_SHIFTS = tuple(map(np.uint64, (30, 27, 31, 11)))


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """One number a row; a row without entries has no positive and no negative ones, 0 shares and hashes.

    `smallest_share` is the smallest |M_ij| d_j among its units with a design weight, infinite where there is none, and
    `shares` their sum. `support` is a hash of the columns. `profile` is a number from -1 to 1 that rows proportional to
    one another share but for rounding (the entries, weighed by hashes of their columns, over the sum of their sizes;
    the sign of the first entry taken out).
    """

    positive: NDArray[np.bool_]
    negative: NDArray[np.bool_]
    smallest_share: FloatArray
    shares: FloatArray
    support: Hashes
    profile: FloatArray


def row_facts(matrix: sp.csr_array, design_weights: FloatArray) -> RowFacts:
    """Give the facts of every row. Cost: about ten passes over a hundred thousand nonzeros at a time.

    >>> facts = row_facts(sp.csr_array([[1.0, 2.0], [2.0, 4.0], [0.0, -1.0]]), np.array([3.0, 1.0]))
    >>> facts.smallest_share.tolist(), bool(facts.support[0] == facts.support[1])
    ([2.0, 4.0, 1.0], True)
    """
    held = _nothing(matrix.shape[0])
    with np.errstate(over="ignore", under="ignore"):  # a share beyond the largest float is infinite
        for begin, end in runs_of_rows(matrix.indptr):
            _fill(held, matrix, design_weights, begin, end)
    return held


def _nothing(n_rows: int) -> RowFacts:
    return RowFacts(
        positive=np.zeros(n_rows, dtype=np.bool_),
        negative=np.zeros(n_rows, dtype=np.bool_),
        smallest_share=np.full(n_rows, np.inf),
        shares=np.zeros(n_rows),
        support=np.zeros(n_rows, dtype=np.uint64),
        profile=np.zeros(n_rows),
    )


def _fill(held: RowFacts, matrix: sp.csr_array, design_weights: FloatArray, begin: int, end: int) -> None:
    """Enter the rows from `begin` to `end`."""
    indptr = matrix.indptr[begin : end + 1]
    rows = begin + np.flatnonzero(np.diff(indptr))  # `reduceat` knows no empty segment
    if not rows.size:
        return
    starts = matrix.indptr[rows] - indptr[0]
    data, columns = matrix.data[indptr[0] : indptr[-1]], matrix.indices[indptr[0] : indptr[-1]]
    over_rows = _over(starts)
    shares = np.abs(data) * design_weights[columns]
    hashes = column_hashes(columns)
    held.positive[rows] = over_rows(np.logical_or, data > 0)
    held.negative[rows] = over_rows(np.logical_or, data < 0)
    held.smallest_share[rows] = over_rows(np.minimum, np.where(shares > 0, shares, np.inf))
    held.shares[rows] = over_rows(np.add, shares)
    held.support[rows] = over_rows(np.add, hashes)
    held.profile[rows] = _profile(data, hashes, starts)


def _over(starts: NDArray[np.integer]) -> Callable[[np.ufunc, NDArray[np.generic]], NDArray[np.generic]]:
    return lambda reduce, values: reduce.reduceat(values, starts)


def column_hashes(columns: NDArray[np.integer]) -> Hashes:
    """Give a hash of 64 well mixed bits of each column's number (splitmix64)."""
    mixed = columns.astype(np.uint64) * _ODD[0]
    mixed = (mixed ^ (mixed >> _SHIFTS[0])) * _ODD[1]
    mixed = (mixed ^ (mixed >> _SHIFTS[1])) * _ODD[2]
    hashes: Hashes = mixed ^ (mixed >> _SHIFTS[2])
    return hashes


def _profile(data: FloatArray, hashes: Hashes, starts: NDArray[np.integer]) -> FloatArray:
    """Give sum_j h_j M_ij / sum_j |M_ij| with h from -1 to 1; entries are first brought near 1, against overflow."""
    lengths = np.diff(starts, append=data.size)
    sizes = np.maximum.reduceat(np.abs(data), starts)
    near_one = data / np.repeat(sizes * np.sign(data[starts]), lengths)
    centred = (hashes >> _SHIFTS[3]) * (2 * _EXACT) - 1
    profile: FloatArray = np.add.reduceat(near_one * centred, starts) / np.add.reduceat(np.abs(near_one), starts)
    return profile
