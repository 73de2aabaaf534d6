"""Row, column, value triples whose file may leave its shape to what is known elsewhere."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l0core.matrices import Coo


@dataclass(frozen=True, kw_only=True)
class Triples:
    """Entries as they came, unchecked; `shape` is None where the file has none."""

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    data: NDArray[np.float64]
    shape: tuple[int, int] | None

    def matrix(self, rows: int | None) -> Coo:
        """Give them in a matrix of the file's shape, else of `rows` rows, else of as many as they need.

        >>> one = np.array([1])
        >>> Triples(row=one, col=one, data=np.array([5.0]), shape=None).matrix(None).shape
        (2, 2)
        """
        shape = self.shape or (_needed(self.row) if rows is None else rows, _needed(self.col))
        return Coo(shape=shape, row=self.row, col=self.col, data=self.data)


def _needed(indices: NDArray[np.int64]) -> int:
    return int(indices.max(initial=-1)) + 1
