"""Matrix Market text, coordinate and array: the sizes it promises first, then its lines, a few at a time.

Read are real, integer and pattern entries, general, symmetric and skew-symmetric (both halves are given back).
"""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from l0core.errors import InvalidMatrix
from l0core.matrices import Coo, RawMatrix
from service.problems.formats import npy
from service.problems.formats.pickles import refuse_pickle
from service.problems.limits import Limits

_INDICES = [("row", np.int64), ("col", np.int64)]
_VALUES: dict[str, list[tuple[str, Any]]] = {
    "real": [("value", np.float64)],
    "integer": [("value", np.int64)],
    "pattern": [],
}
_SYMMETRIES = ("general", "symmetric", "skew-symmetric")
_LONGEST_HEAD_LINE = 1024
_MOST_COMMENTS = 2**20
_BLOCK_BYTES = 2**20
_ENTRY_BYTES = 24  # of row, column and value in memory


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the file says of itself; `lines` is how many entries it promises."""

    is_array: bool
    field: str
    symmetry: str
    shape: tuple[int, int]
    lines: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """What stands in a line."""
        return np.dtype(([] if self.is_array else _INDICES) + _VALUES[self.field])

    @property
    def least_bytes(self) -> int:
        """How many bytes so many lines need: a digit and a blank or newline for each word."""
        return max(0, 2 * len(self.dtype.names or ()) * self.lines - 1)


def read_matrix(path: Path, limits: Limits, pointer: str) -> RawMatrix:
    """Read a file that scipy.io.mmwrite wrote, or one that only says so."""
    with path.open("rb") as stream:
        refuse_pickle(stream, name="the matrix", instead="use scipy.io.mmwrite", pointer=pointer)
        header = _read_header(stream, pointer)
        _check_promises(header, path.stat().st_size - stream.tell(), limits, pointer)
        held = _read_lines(stream, header, pointer)
    if header.is_array:
        return npy.nonzeros(held["value"].reshape(header.shape, order="F"), limits, pointer)
    matrix = _whole(header, held, pointer)
    limits.check_matrix(matrix.shape, matrix.data.size, pointer)
    return matrix


def _read_header(stream: IO[bytes], pointer: str) -> _Header:
    words = _line(stream, pointer).lower().split()
    if len(words) != 5 or words[:2] != ["%%matrixmarket", "matrix"]:
        raise InvalidMatrix(
            "the matrix is not a Matrix Market file: its first line must be %%MatrixMarket matrix, then coordinate or "
            "array, the field and the symmetry",
            pointer=pointer,
        )
    layout, field, symmetry = words[2:]
    if field not in _VALUES or symmetry not in _SYMMETRIES or layout not in ("coordinate", "array"):
        raise InvalidMatrix(
            f"the Matrix Market file is {layout} {field} {symmetry}; read are coordinate or array, real, integer or "
            "pattern, general, symmetric or skew-symmetric",
            pointer=pointer,
        )
    if layout == "array" and (field == "pattern" or symmetry != "general"):
        raise InvalidMatrix(f"an array cannot be {field} {symmetry} here; write it in general form", pointer=pointer)
    sizes = _sizes(stream, 2 if layout == "array" else 3, pointer)
    rows, columns = sizes[:2]
    lines = rows * columns if layout == "array" else sizes[2]
    return _Header(is_array=layout == "array", field=field, symmetry=symmetry, shape=(rows, columns), lines=lines)


def _line(stream: IO[bytes], pointer: str) -> str:
    line = stream.readline(_LONGEST_HEAD_LINE)
    if len(line) == _LONGEST_HEAD_LINE:
        raise InvalidMatrix(f"the Matrix Market file has a line of {_LONGEST_HEAD_LINE} bytes or more", pointer=pointer)
    return line.decode("latin-1")


def _sizes(stream: IO[bytes], count: int, pointer: str) -> list[int]:
    """Give the numbers of the first line that is neither comment nor blank."""
    line = "%"
    while line and (line.startswith("%") or not line.strip()):
        line = _line(stream, pointer)
        if stream.tell() > _MOST_COMMENTS:
            raise InvalidMatrix(
                f"the Matrix Market file has more than {_MOST_COMMENTS} bytes of comments", pointer=pointer
            )
    words = line.split()
    if len(words) != count or not all(word.isascii() and word.isdecimal() and len(word) <= 19 for word in words):
        names = "rows, columns" if count == 2 else "rows, columns and entries"
        raise InvalidMatrix(f"the Matrix Market file needs a line of {names} after its comments", pointer=pointer)
    return [int(word) for word in words]


def _check_promises(header: _Header, bytes_there: int, limits: Limits, pointer: str) -> None:
    limits.check_matrix(header.shape, 0 if header.is_array else header.lines, pointer)
    if header.symmetry != "general" and header.shape[0] != header.shape[1]:
        raise InvalidMatrix(f"a {header.symmetry} matrix is square; this has shape {header.shape}", pointer=pointer)
    if header.least_bytes > bytes_there:
        raise InvalidMatrix(
            f"the Matrix Market file promises {header.lines} entries, {header.least_bytes} bytes at least, "
            f"and has {bytes_there}",
            pointer=pointer,
        )
    if header.lines * _ENTRY_BYTES > limits.bytes:
        raise InvalidMatrix(
            f"the matrix takes {header.lines * _ENTRY_BYTES} bytes; the limit is {limits.bytes}", pointer=pointer
        )


def _read_lines(stream: IO[bytes], header: _Header, pointer: str) -> NDArray[Any]:
    """Give as many entries as were promised, neither more nor less."""
    held, seen = np.empty(header.lines, dtype=header.dtype), 0
    for text in _blocks(stream, pointer):
        block = _parsed(text, header, seen, pointer)
        if seen + block.size > header.lines:
            raise InvalidMatrix(f"the Matrix Market file goes on after its {header.lines} entries", pointer=pointer)
        held[seen : seen + block.size] = block
        seen += block.size
    if seen < header.lines:
        raise InvalidMatrix(
            f"the Matrix Market file promises {header.lines} entries and ends after {seen}", pointer=pointer
        )
    return held


def _blocks(stream: IO[bytes], pointer: str) -> Iterator[bytes]:
    """Give the text in pieces of whole lines."""
    rest = b""
    while piece := stream.read(_BLOCK_BYTES):
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if len(rest) > _BLOCK_BYTES:
            raise InvalidMatrix(f"the Matrix Market file has a line of more than {_BLOCK_BYTES} bytes", pointer=pointer)
        yield whole + newline
    yield rest


def _parsed(text: bytes, header: _Header, before: int, pointer: str) -> NDArray[Any]:
    try:
        block = _numbers(text, header.dtype)
    except ValueError:
        raise _bad_line(text, header, before, pointer) from None
    if not header.is_array:
        for name, limit in zip(("row", "col"), header.shape, strict=True):
            _check_range(block[name], name, limit, before, pointer)
    return block


def _numbers(text: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read lines of words, each line as many as `dtype` has; ValueError where one is anything else."""
    if not text.strip():
        return np.empty(0, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return np.loadtxt(io.StringIO(text.decode("ascii")), dtype=dtype, comments=None, ndmin=1)


def _bad_line(text: bytes, header: _Header, before: int, pointer: str) -> InvalidMatrix:
    """Find the line that cannot be read."""
    entry = before
    for line in text.split(b"\n"):
        try:
            entry += _numbers(line, header.dtype).size
        except ValueError:
            break
    names = " ".join(header.dtype.names or ())
    return InvalidMatrix(
        f"entry {entry + 1} of the Matrix Market file cannot be read; each line needs: {names} ({header.field})",
        pointer=pointer,
    )


def _check_range(indices: NDArray[np.int64], name: str, limit: int, before: int, pointer: str) -> None:
    bad = np.flatnonzero((indices < 1) | (indices > limit))
    if bad.size:
        raise InvalidMatrix(
            f"entry {before + bad[0] + 1} of the Matrix Market file has {name} {indices[bad[0]]}; "
            f"Matrix Market counts from 1, here to {limit}",
            pointer=pointer,
        )


def _whole(header: _Header, held: NDArray[Any], pointer: str) -> Coo:
    """Give the entries counted from 0, with those that a symmetry leaves out."""
    row, col = held["row"] - 1, held["col"] - 1
    data = np.ones(held.size) if header.field == "pattern" else held["value"].astype(np.float64)
    if header.symmetry != "general":
        _check_triangle(row, col, header.symmetry, pointer)
        sign, below = (-1.0 if header.symmetry == "skew-symmetric" else 1.0), row > col
        row, col = np.concatenate([row, col[below]]), np.concatenate([col, row[below]])
        data = np.concatenate([data, sign * data[below]])
    return Coo(shape=header.shape, row=row, col=col, data=data)


def _check_triangle(row: NDArray[np.int64], col: NDArray[np.int64], symmetry: str, pointer: str) -> None:
    bad = np.flatnonzero(row <= col if symmetry == "skew-symmetric" else row < col)
    if bad.size:
        at = bad[0]
        raise InvalidMatrix(
            f"entry {at + 1} of the Matrix Market file is at row {row[at] + 1}, col {col[at] + 1}; "
            f"a {symmetry} matrix stores what is below its diagonal",
            pointer=pointer,
        )
