"""Rows of features from outside, in any form, as one checked dense array. Torch-free."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core import arrays, matrices
from l0core.arrays import FloatArray
from l0core.errors import InvalidInput, NonfiniteInput

MOST_NUMBERS = 2**28  # of all rows together: 2 GiB in float64
MOST_SIZE = 1e15  # its square is still far inside float32


def dense_rows(given: Any, *, name: str = "features") -> FloatArray:
    """Give `given` (nested lists, any 2-D array, scipy's or unchecked parts) as n x d float64, n and d at least 1.

    Raises InvalidInput naming the place: too many numbers, none, not finite, or beyond 1e15.

    >>> dense_rows([[1, 2], [3, 4]]).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    rows = _filled(given, name)
    _check_shape(rows.shape, name)
    checked = _float64(rows, name)
    _refuse(checked, ~np.isfinite(checked), "all numbers must be finite", name, NonfiniteInput)
    _refuse(checked, np.abs(checked) > MOST_SIZE, f"a network takes up to {MOST_SIZE:g} in size", name, InvalidInput)
    return checked + 0.0  # -0.0 becomes 0.0: the same number, the same bytes


def _filled(given: Any, name: str) -> NDArray[Any]:
    if isinstance(given, matrices.Csr | matrices.Csc | matrices.Coo) or hasattr(given, "tocsr"):
        raw = given if not hasattr(given, "tocsr") else matrices.parts(given)
        _check_shape(raw.shape, name)
        return np.asarray(matrices.canonical(raw, pointer=f"/{name}")[0].toarray())
    return arrays.as_array(given, name)


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) != 2 or min(shape) < 1:
        raise InvalidInput(
            f"{name} has shape {shape}; it needs rows and columns, one of each at least", pointer=f"/{name}"
        )
    if shape[0] * shape[1] > MOST_NUMBERS:
        raise InvalidInput(
            f"{name} has {shape[0]} x {shape[1]} numbers; {MOST_NUMBERS} is the limit", pointer=f"/{name}"
        )


def _float64(rows: NDArray[Any], name: str) -> FloatArray:
    if rows.dtype.kind not in "fiu" or rows.dtype.itemsize > 8 or rows.dtype == np.float16:
        raise InvalidInput(
            f"{name} holds {rows.dtype}; it needs numbers (float32, float64 or integers)", pointer=f"/{name}"
        )
    return rows.astype(np.float64)


def _refuse(rows: FloatArray, bad: NDArray[np.bool_], need: str, name: str, error: type[InvalidInput]) -> None:
    if bad.any():
        row, column = (int(place[0]) for place in np.nonzero(bad))
        count = int(bad.sum())
        raise error(
            f"{name}[{row}, {column}] is {rows[row, column]:g}; {need} ({count} of {rows.size} are not)",
            pointer=f"/{name}/{row}/{column}",
        )
