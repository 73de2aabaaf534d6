"""The matrix as the CPU kernel reads it: columns side by side, 32 a slice, once an epoch.

Columns are sorted by their number of entries; 32 neighbours form a slice, padded to the longest of them with zeros
(less than 1 % on survey matrices). Entry k of all 32 lies side by side, so that the processor works on many columns at
once and never mispredicts where one ends. 4 bytes a value and 2 a row number (4 from 65,536 rows on).
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.calibration.kernels.compiling import compiled
from l0core.calibration.kernels.lanes import LANES
from l0core.calibration.kernels.nesting import Nesting, nesting_of

_MOST_16_BIT = 65_536
_BLOCKS = 32  # of columns, each with its own sums; their number decides the bits, so it depends on nothing else
_ENTRIES_A_UNIT = 10  # a unit's step takes as long as this many of its entries


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Q x N in float32. Lane l of slice s holds column `unit[32 s + l]` (-1: none), every 32nd entry from `start[s]`.

    `blocks[b]` to `blocks[b + 1]` are the slices of block b: about the same work each.
    """

    n_rows: int
    n_columns: int
    data: NDArray[np.float32]
    row: NDArray[np.uint16] | NDArray[np.uint32]
    start: NDArray[np.int64]
    unit: NDArray[np.int32]
    blocks: NDArray[np.int64]
    nesting: Nesting

    @property
    def n_lanes(self) -> int:
        """Columns, rounded up to whole slices."""
        return int(self.unit.size)

    @property
    def n_bytes(self) -> int:
        """What one epoch reads of it."""
        return self.data.nbytes + self.row.nbytes

    def totals(self) -> NDArray[np.float64]:
        """Give room for each block's sums by row."""
        return np.empty((self.blocks.size - 1, self.n_rows))

    def spread(self, by_unit: NDArray[np.float32], rest: float) -> NDArray[np.float32]:
        """Put one number a unit into the order of the lanes; `rest` where a lane has none."""
        lanes = np.full(self.n_lanes, rest, dtype=np.float32)
        lanes[: self.n_columns] = by_unit[self.unit[: self.n_columns]]
        return lanes

    def collect(self, by_lane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo `spread`."""
        values = np.empty(self.n_columns, dtype=np.float32)
        values[self.unit[: self.n_columns]] = by_lane[: self.n_columns]
        return values


def slices_of(matrix: sp.csr_array) -> Slices:
    """Lay out a canonical matrix. Beside the result it needs 1 byte an entry and 24 a column."""
    nesting = nesting_of(matrix)
    rows, columns = matrix.shape
    counts = _counts(matrix.indices, nesting.covered, columns)
    order = _order(counts)
    longest = counts[order[::LANES]].astype(np.int64)
    start = np.concatenate([[0], np.cumsum(longest)]) * LANES
    data = np.zeros(start[-1], dtype=np.float32)
    row = np.zeros(start[-1], dtype=np.uint16 if rows <= _MOST_16_BIT else np.uint32)
    place = np.empty(columns, dtype=np.int32)
    place[order] = np.arange(columns, dtype=np.int32)
    _fill(matrix.indptr, matrix.indices, matrix.data, nesting.covered, place, start, counts, data, row)
    unit = np.full(longest.size * LANES, -1, dtype=np.int32)
    unit[:columns] = order
    return Slices(
        n_rows=rows,
        n_columns=columns,
        data=data,
        row=row,
        start=start,
        unit=unit,
        blocks=_blocks(start),
        nesting=nesting,
    )


def _order(counts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give the columns by falling number of entries, of equal ones neighbours far apart.

    Neighbours in a survey are alike: side by side they would add to the same row one after the other, each waiting.
    """
    apart = np.random.default_rng(0).permutation(counts.size).astype(np.int32)
    return apart[np.argsort(-counts[apart], kind="stable")]


def _blocks(start: NDArray[np.int64]) -> NDArray[np.int64]:
    work = start + _ENTRIES_A_UNIT * LANES * np.arange(start.size)
    blocks = np.searchsorted(work, np.linspace(0, work[-1], _BLOCKS + 1)).astype(np.int64)
    blocks[-1] = start.size - 1
    return blocks


@compiled
def _counts(indices, covered, columns):
    counts = np.zeros(columns, np.int32)
    for k in range(indices.size):
        counts[indices[k]] += not covered[k]
    return counts


@compiled
def _fill(indptr, indices, values, covered, place, start, counts, data, row):
    """Write every uncovered entry to its lane."""
    filled = counts.copy()
    for i in range(indptr.size - 1):
        for k in range(indptr[i], indptr[i + 1]):
            if not covered[k]:
                j = indices[k]
                lane = place[j]
                at = start[lane // 32] + np.int64(counts[j] - filled[j]) * 32 + lane % 32
                filled[j] -= 1
                data[at] = values[k]
                row[at] = i
