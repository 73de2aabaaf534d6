"""scipy's sparse .npz (csr, csc, coo): an allow-list of members, every size known before a byte is inflated."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.errors import InvalidInput, InvalidMatrix, L0Error
from l0core.matrices import Coo, Csc, Csr, RawMatrix
from service.problems.formats import npy
from service.problems.formats.expansion import check_expansion
from service.problems.formats.pickles import refuse_pickle
from service.problems.limits import Limits

_COMMON = frozenset({"format.npy", "shape.npy", "data.npy"})
_COMPRESSED = _COMMON | {"indices.npy", "indptr.npy"}
_TRIPLES = _COMMON | {"row.npy", "col.npy"}
_OPTIONAL = frozenset({"_is_array.npy"})
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_SMALL_MEMBER = 4096
_LOCAL_HEADER = 30  # bytes before a member's name and its data
_MOST_AT_ONCE = 2**20  # of a table of contents; six members need less than one kB


def read_matrix(path: Path, limits: Limits, pointer: str) -> RawMatrix:
    """Read a file that scipy.sparse.save_npz wrote, or one that only says so."""
    with _archive(path, pointer) as archive:
        members = _checked_members(archive, path, limits, pointer)
        layout = _layout(archive, members, limits, pointer)
        shape = _shape(archive, members, limits, pointer)
        limits.check_matrix(shape, _header(archive, members["data.npy"], limits, pointer).items, pointer)
        for name in _OPTIONAL & members.keys():
            _small(archive, members[name], limits, pointer)
        arrays = {name: _array(archive, members[f"{name}.npy"], limits, pointer) for name in _FIELDS[layout]}
    raw: RawMatrix = _MAKERS[layout](shape=shape, **arrays)
    return raw


_FIELDS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
}
_MAKERS: dict[str, Any] = {"csr": Csr, "csc": Csc, "coo": Coo}


class _Sparing(io.BufferedReader):
    """A file that gives no more than `most` bytes at once: a table of contents of a million members is not taken in."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.most: int | None = _MOST_AT_ONCE

    def read(self, size: int | None = -1, /) -> bytes:
        """Give the next bytes."""
        if self.most is not None and size is not None and size > self.most:
            raise zipfile.BadZipFile("the table of contents is too long")
        return super().read(size)


@contextmanager
def _archive(path: Path, pointer: str) -> Iterator[zipfile.ZipFile]:
    with _Sparing(path) as stream:
        refuse_pickle(stream, name="the matrix", instead="use save_npz", pointer=pointer)
        try:
            with zipfile.ZipFile(stream) as archive:
                stream.most = None
                yield archive
        except L0Error:
            raise
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            NotImplementedError,
            EOFError,
            OSError,
            ValueError,
        ) as error:
            raise InvalidMatrix("the matrix is not a readable .npz file", pointer=pointer) from error


def _checked_members(archive: zipfile.ZipFile, path: Path, limits: Limits, pointer: str) -> dict[str, zipfile.ZipInfo]:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    found = set(names) - _OPTIONAL
    if len(names) != len(set(names)) or found not in (_COMPRESSED, _TRIPLES):
        shown = ", ".join(sorted(names)[:8])
        raise InvalidMatrix(
            f"the .npz holds {shown}; a sparse matrix saved by scipy holds format, shape, data and indices, indptr "
            "or row, col, each once",
            pointer=pointer,
        )
    for entry in entries:
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
            raise InvalidMatrix(f"{entry.filename} is encrypted or compressed in an unusual way", pointer=pointer)
    _check_places(entries, pointer)
    unpacked = sum(entry.file_size for entry in entries)
    check_expansion(unpacked, path.stat().st_size, limits, name=".npz", pointer=pointer)
    return {entry.filename: entry for entry in entries}


def _check_places(entries: list[zipfile.ZipInfo], pointer: str) -> None:
    """Refuse members that share bytes: each must end before the next begins."""
    placed = sorted(entries, key=lambda entry: entry.header_offset)
    for entry, following in pairwise(placed):
        end = entry.header_offset + _LOCAL_HEADER + len(entry.filename) + entry.compress_size
        if end > following.header_offset:
            raise InvalidMatrix(f"{entry.filename} and {following.filename} overlap in the .npz", pointer=pointer)


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits, pointer: str) -> npy.Header:
    with archive.open(entry) as stream:
        header = npy.read_header(stream, name=entry.filename, pointer=pointer)
    npy.check_size(header, entry.file_size, limits, name=entry.filename, pointer=pointer)
    return header


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits, pointer: str) -> NDArray[Any]:
    header = _header(archive, entry, limits, pointer)
    with archive.open(entry) as stream:
        stream.seek(header.data_start)
        return npy.read_data(stream, header)


def _layout(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], limits: Limits, pointer: str) -> str:
    text = _small(archive, members["format.npy"], limits, pointer)
    layout = bytes(text.tobytes()).rstrip(b"\0").decode("ascii", "replace") if text.dtype.kind == "S" else str(text)
    wanted = {"csr": _COMPRESSED, "csc": _COMPRESSED, "coo": _TRIPLES}.get(layout)
    if wanted is None or set(members) - _OPTIONAL != wanted:
        raise InvalidMatrix(f"the .npz says its format is {layout[:20]!r}; csr, csc and coo are read", pointer=pointer)
    return layout


def _shape(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], limits: Limits, pointer: str
) -> tuple[int, int]:
    shape = _small(archive, members["shape.npy"], limits, pointer)
    if shape.dtype.kind not in "iu" or shape.shape != (2,) or np.any(shape < 0):
        raise InvalidMatrix(f"shape is {shape.tolist()}; it needs two whole numbers of 0 or more", pointer=pointer)
    return int(shape[0]), int(shape[1])


def _small(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits, pointer: str) -> NDArray[Any]:
    if entry.file_size > _SMALL_MEMBER:
        raise InvalidInput(f"{entry.filename} has {entry.file_size} bytes; it should be tiny", pointer=pointer)
    return _array(archive, entry, limits, pointer)
