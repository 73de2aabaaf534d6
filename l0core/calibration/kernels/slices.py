"""The matrix as the CPU kernel reads it: columns side by side, 32 a slice, once an epoch.

Columns are sorted by their number of entries; 32 neighbours form a slice, padded to the longest of them with zeros
(less than 1 % on survey matrices). Entry k of all 32 lies side by side, so that the processor works on many columns at
once and never mispredicts where one ends. 4 bytes a value and 2 a row number (4 from 65,536 rows on).
"""

from dataclasses import dataclass, replace
from typing import Any

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

    `blocks[b]` to `blocks[b + 1]` are the slices of block b: about the same work each. `n_held` columns are here; the
    others count as empty.
    """

    n_rows: int
    n_columns: int
    n_held: int
    data: NDArray[np.float32]
    row: NDArray[np.uint16] | NDArray[np.uint32]
    start: NDArray[np.int64]
    unit: NDArray[np.int32]
    blocks: NDArray[np.int64]
    nesting: Nesting

    @property
    def n_lanes(self) -> int:
        """Columns held, rounded up to whole slices."""
        return int(self.unit.size)

    @property
    def n_bytes(self) -> int:
        """What one epoch reads of it."""
        return self.data.nbytes + self.row.nbytes

    def totals(self) -> NDArray[np.float64]:
        """Give room for each block's sums by row."""
        return np.empty((self.blocks.size - 1, self.n_rows))

    def spread(self, by_unit: NDArray[Any], rest: float) -> NDArray[Any]:
        """Put one number a unit into the order of the lanes; `rest` where a lane has none."""
        lanes = np.full(self.n_lanes, rest, dtype=by_unit.dtype)
        lanes[: self.n_held] = by_unit[self.unit[: self.n_held]]
        return lanes

    def collect(self, by_lane: NDArray[Any], into: NDArray[Any]) -> None:
        """Undo `spread`: write each lane's number to its unit's place."""
        into[self.unit[: self.n_held]] = by_lane[: self.n_held]

    def keeping(self, lanes: NDArray[np.bool_]) -> "Slices":
        """Give the slices of these lanes alone, in the memory of the present ones, which are not to be used again.

        What is kept decides the result, not on how many ways it came to be all that is left.
        """
        lanes = lanes & (self.unit >= 0)
        kept = np.flatnonzero(lanes)
        unit = np.full(-(-kept.size // LANES) * LANES, -1, dtype=np.int32)
        unit[: kept.size] = self.unit[kept]
        start = _moved_together(kept, self.start, self.data, self.row)
        return replace(
            self,
            n_held=kept.size,
            data=self.data[: start[-1]],
            row=self.row[: start[-1]],
            start=start,
            unit=unit,
            blocks=_blocks(start),
        )


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
        n_held=columns,
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


@compiled
def _moved_together(kept, start, data, row):
    """Move the entries of these lanes to the front, 32 lanes a slice, and give where the new slices begin.

    A new slice never reaches past the old one its next lane lies in, so that nothing is overwritten before it is read.
    """
    slices = (kept.size + 31) // 32
    starts = np.zeros(slices + 1, np.int64)
    longest = 0
    for s in range(start.size - 1):
        longest = max(longest, (start[s + 1] - start[s]) // 32)
    held, rows = np.empty((longest, 32), data.dtype), np.empty((longest, 32), row.dtype)
    for s in range(slices):
        held[:], rows[:] = 0, 0
        length = 0
        for lane in range(min(32, kept.size - 32 * s)):
            old = kept[32 * s + lane]
            begin, entries = start[old // 32] + old % 32, (start[old // 32 + 1] - start[old // 32]) // 32
            while entries > 0 and data[begin + 32 * (entries - 1)] == 0:
                entries -= 1
            for k in range(entries):
                held[k, lane], rows[k, lane] = data[begin + 32 * k], row[begin + 32 * k]
            length = max(length, entries)
        for k in range(length):
            for lane in range(32):
                data[starts[s] + 32 * k + lane], row[starts[s] + 32 * k + lane] = held[k, lane], rows[k, lane]
        starts[s + 1] = starts[s] + 32 * length
    return starts
