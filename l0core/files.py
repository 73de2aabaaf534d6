"""Matrices and vectors out of a person's own files: .npz, .npy, .mtx, .parquet. Nothing is unpickled."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from l0core.errors import InvalidInput, MissingPackage

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, SafetensorError)
_TRIPLES = ("row", "col", "value")


def read_input(given: Any) -> Any:
    """Give a field of a problem: what the file at a path holds, by its name; what is no path as it is."""
    if not isinstance(given, Path):
        return given
    return _read(given, _READERS, "a field of a problem")


def read_matrix(path: Path) -> Any:
    """Give the matrix in a file; InvalidInput where it holds none."""
    return _read(path, {".npz": sp.load_npz, ".npy": _npy, ".mtx": _matrix_market, ".parquet": _triples}, "a matrix")


def read_vector(path: Path) -> NDArray[Any]:
    """Give the numbers in a file; InvalidInput where it holds none."""
    numbers: NDArray[Any] = _read(path, {".npy": _npy, ".parquet": _column}, "numbers")
    return numbers


def read_names(path: Path) -> list[str]:
    """Give the names in a text file, one a line."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        _refuse(path, "names, one a line in UTF-8", error)


def _read(path: Path, readers: dict[str, Callable[[Path], Any]], what: str) -> Any:
    if path.suffix.lower() not in readers:
        known = ", ".join(readers)
        raise InvalidInput(f"{path} ends in '{path.suffix}', which is not read here; write {what} as one of {known}")
    try:
        return readers[path.suffix.lower()](path)
    except MissingPackage:
        raise
    except _UNREADABLE as error:
        _refuse(path, what, error)


def _refuse(path: Path, what: str, error: Exception) -> NoReturn:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise InvalidInput(f"{path} holds no {what.removeprefix('a ')} that can be read: {reason}") from error


def _either(path: Path) -> Any:
    """Give the matrix in a Parquet file of triples, else its one column."""
    return _triples(path) if set(_table(path).column_names) >= set(_TRIPLES) else _column(path)


def _npy(path: Path) -> Any:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _matrix_market(path: Path) -> Any:
    from scipy.io import mmread  # noqa: PLC0415

    return sp.csr_array(mmread(path))


def _triples(path: Path) -> Any:
    columns = _table(path)
    row, col, value = (np.asarray(columns[name]) for name in _TRIPLES)
    return sp.csr_array(sp.coo_array((value, (row, col))))


def _column(path: Path) -> Any:
    columns = _table(path)
    if columns.num_columns != 1:
        raise ValueError(f"it has {columns.num_columns} columns; numbers are one")
    return np.asarray(columns.column(0))


def _table(path: Path) -> Any:
    try:
        import pyarrow.lib  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise MissingPackage("pyarrow", needed_for="a Parquet file") from error
    try:
        return parquet.read_table(path, arrow_extensions_enabled=False)
    except pyarrow.lib.ArrowException as error:
        raise ValueError(str(error)) from error


_READERS: dict[str, Callable[[Path], Any]] = {
    ".npz": sp.load_npz,
    ".npy": _npy,
    ".mtx": _matrix_market,
    ".parquet": _either,
    ".safetensors": load_file,
}
