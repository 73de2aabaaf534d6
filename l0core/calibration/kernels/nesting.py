"""Rows that repeat others: a national total is the sum of the states' rows, a state's the sum of its districts'.

Row a is nested in row b where every entry of a stands in b too, at the same value. With disjoint nested rows taken out,
b = remainder + sum of them, so that (M w)_b needs the remainder alone and the others' totals, and (M' r)_j needs for
column j one entry instead of two, with r_b added to r_a first. Geographically stacked targets lose half to two thirds
of their nonzeros this way, exactly: nothing is approximated but the order of a sum.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.calibration.kernels.compiling import compiled

_EFFORT = 6  # entries looked at, at most, per stored one: where little is nested the search must not cost much


@dataclass(frozen=True, kw_only=True)
class Nesting:
    """`covered[k]`: entry k of the matrix is left out, for it stands in a nested row. `child[i]` is in `parent[i]`.

    Pairs are ordered so that a row is complete before it is added to another.
    """

    covered: NDArray[np.bool_]
    parent: NDArray[np.int64]
    child: NDArray[np.int64]


def nesting_of(matrix: sp.csr_array) -> Nesting:
    """Find nested rows of a canonical matrix (sorted columns, no entry twice), largest first. Memory: 1 byte an entry.

    >>> matrix = sp.csr_array(np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0], [1.0, 2.0, 3.0]]))
    >>> found = nesting_of(matrix)
    >>> found.parent.tolist(), found.child.tolist(), int(found.covered.sum())
    ([2, 2], [0, 1], 3)
    """
    indptr = matrix.indptr.astype(np.int64)
    sizes = np.diff(indptr)
    order = np.lexsort((np.arange(sizes.size), -sizes))  # largest first, of equal ones the first
    heads = _heads(indptr, matrix.indices, sizes)
    covered = np.zeros(matrix.nnz, dtype=np.bool_)
    pairs = _nested(indptr, matrix.indices, matrix.data, order, *heads, covered, _EFFORT * matrix.nnz)
    rank = np.empty(sizes.size, dtype=np.int64)
    rank[order] = np.arange(sizes.size)
    ascending = np.argsort(-rank[pairs[:, 0]], kind="stable")
    return Nesting(covered=covered, parent=pairs[ascending, 0], child=pairs[ascending, 1])


def _heads(
    indptr: NDArray[np.int64], indices: NDArray[np.integer], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Give for the first column of every row the matrix's entries there: (slot of a row, start of a slot, entry)."""
    full = np.flatnonzero(sizes)
    columns, slot = np.unique(indices[indptr[full]], return_inverse=True)
    slots = np.full(sizes.size, -1, dtype=np.int64)
    slots[full] = slot
    wanted = np.full(int(indices.max(initial=0)) + 1, -1, dtype=np.int32)
    wanted[columns] = np.arange(columns.size)
    return slots, *_entries_there(indices, wanted, columns.size)


@compiled
def _entries_there(indices, wanted, slots):
    """Give where each slot begins in a list of entries, and the list: those whose column belongs to a slot."""
    starts = np.zeros(slots + 1, np.int64)
    for k in range(indices.size):
        if wanted[indices[k]] >= 0:
            starts[wanted[indices[k]] + 1] += 1
    for slot in range(slots):
        starts[slot + 1] += starts[slot]
    entries, filled = np.empty(starts[slots], np.int64), starts[:-1].copy()
    for k in range(indices.size):
        slot = wanted[indices[k]]
        if slot >= 0:
            entries[filled[slot]] = k
            filled[slot] += 1
    return starts, entries


@compiled
def _nested(indptr, indices, data, order, slots, starts, entries, covered, effort):
    """Give (parent, child) pairs, having marked what they cover."""
    pairs = np.empty((order.size * 4, 2), np.int64)
    places = np.empty(indices.size and np.max(indptr[1:] - indptr[:-1]), np.int64)
    found = 0
    for child in order:
        begin, end = indptr[child], indptr[child + 1]
        if begin == end or found == pairs.shape[0] or effort < 0:
            continue
        for at in range(starts[slots[child]], starts[slots[child] + 1]):
            entry = entries[at]
            parent = np.searchsorted(indptr, entry, side="right") - 1
            size = indptr[parent + 1] - indptr[parent]
            effort -= 1
            if size < end - begin or (size == end - begin and parent >= child):
                continue
            met = _met(indices, data, covered, begin, end, entry, indptr[parent + 1], places)
            effort -= met
            if met == end - begin:
                for k in range(met):
                    covered[places[k]] = True
                pairs[found, 0], pairs[found, 1] = parent, child
                found += 1
                if found == pairs.shape[0]:
                    break
    return pairs[:found]


@compiled
def _met(indices, data, covered, begin, end, at, high, places):
    """Give how many of entries begin..end, in turn, stand uncovered, at the same values, among at..high; and where."""
    for k in range(begin, end):
        step = 1
        while at + step < high and indices[at + step] < indices[k]:
            at += step
            step *= 2
        at += np.searchsorted(indices[at : min(at + step, high)], indices[k])
        if at == high or indices[at] != indices[k] or data[at] != data[k] or covered[at]:
            return k - begin
        places[k - begin] = at
    return end - begin
