"""Parquet: columns row, col and value for a matrix, one column for a vector. Names and types first, then batches.

A file's metadata may hold `shape`, as JSON: [rows, columns].
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from l0core.errors import InvalidInput, InvalidMatrix, L0Error
from service.problems.formats.expansion import check_expansion
from service.problems.formats.pickles import refuse_pickle
from service.problems.formats.triples import Triples
from service.problems.limits import Limits

_MAGIC = b"PAR1"
_TAIL = 8  # bytes of the footer's length and the closing magic
_LONGEST_FOOTER = 16 * 2**20
_MOST_ITEMS = 2**20  # of any list in the footer: columns, row groups
_BATCH_ROWS = 2**16
_COLUMNS = ("row", "col", "value")
_ENTRY_BYTES = 24  # of row, column and value in memory
_LONGEST_SHAPE = 100
_LONGEST_TEXT = 4000  # bytes
_TEXTS = ("string", "large_string")
_DTYPES = {  # by Arrow's names: a type from elsewhere may have no other way to be told apart
    "bool": np.dtype(np.bool_),
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def read_triples(path: Path, limits: Limits, pointer: str) -> Triples:
    """Read columns row, col and value; null, another column or an index beyond int64 is refused."""
    with _opened(path, "the matrix", pointer) as file:
        types = _types(file, pointer)
        if set(types) != set(_COLUMNS) or len(types) != len(file.schema_arrow.names):
            raise InvalidMatrix(
                f"the Parquet file has the columns {_shown(file)}; a matrix has row, col and value, each once "
                "(pandas: to_parquet(..., index=False))",
                pointer=pointer,
            )
        _check_triples(types, pointer)
        shape, rows = _shape(file, pointer), _promised_rows(file, path, limits, _ENTRY_BYTES, pointer)
        limits.check_matrix(shape or (0, 0), rows, pointer)
        dtypes = {"row": np.dtype(np.int64), "col": np.dtype(np.int64), "value": np.dtype(np.float64)}
        held = _read(file, dtypes, rows, pointer)
    return Triples(row=held["row"], col=held["col"], data=held["value"], shape=shape)


def read_vector(path: Path, limits: Limits, pointer: str) -> NDArray[Any]:
    """Read the one column of a file, whatever its name."""
    with _opened(path, f"the upload of {pointer.lstrip('/')}", pointer) as file:
        types = _types(file, pointer)
        if len(file.schema_arrow.names) != 1:
            raise InvalidInput(
                f"the Parquet file has the columns {_shown(file)}; a vector has one "
                "(pandas: to_parquet(..., index=False))",
                pointer=pointer,
            )
        rows = _promised_rows(file, path, limits, 8, pointer)
        ((name, dtype),) = types.items()
        return _read(file, {name: dtype}, rows, pointer)[name]


def read_texts(path: Path, limits: Limits, pointer: str) -> list[str]:
    """Read the one column of a file that holds texts; null, or a text of more than 4,000 bytes, is refused.

    The column is read as a dictionary: a long text that is named a million times is there once when it is looked at.
    """
    name = f"the upload of {pointer.lstrip('/')}"
    with _opened(path, name, pointer) as file:
        types = [(field.name, str(field.type)) for field in file.schema_arrow]
        if len(types) != 1 or types[0][1] not in _TEXTS:
            text = f"the Parquet file has the columns {_shown(file)}; texts are one column of strings"
            raise InvalidInput(text, pointer=pointer)
        rows = _promised_rows(file, path, limits, 8, pointer)
    with _opened(path, name, pointer, dictionary=[types[0][0]]) as file:
        texts = [text for batch in _batches(file, types[0][0]) for text in _texts(batch, pointer)]
    if len(texts) != rows:
        raise InvalidInput(f"the Parquet file promises {rows} rows and has {len(texts)}", pointer=pointer)
    return texts


def _batches(file: Any, name: str) -> Iterator[Any]:
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[name], use_threads=False):
        yield batch.column(0)


def _texts(column: Any, pointer: str) -> list[str]:
    if column.null_count:
        raise InvalidInput("the Parquet file has a row without a text (null)", pointer=pointer)
    if (pc.max(pc.binary_length(column.dictionary)).as_py() or 0) > _LONGEST_TEXT:
        raise InvalidInput(f"the Parquet file has a text of more than {_LONGEST_TEXT} bytes", pointer=pointer)
    texts: list[str] = column.to_pylist()
    return texts


@contextmanager
def _opened(path: Path, name: str, pointer: str, *, dictionary: list[str] | None = None) -> Iterator[Any]:
    """Open a file whose footer is where it should be; whatever the library finds wrong with it is a refusal."""
    _check_ends(path, name, pointer)
    try:
        with pq.ParquetFile(
            path,
            read_dictionary=dictionary,
            buffer_size=2**20,  # a column is read as it is decoded
            pre_buffer=False,
            page_checksum_verification=True,
            arrow_extensions_enabled=False,
            thrift_string_size_limit=_LONGEST_FOOTER,
            thrift_container_size_limit=_MOST_ITEMS,
        ) as file:
            yield file
    except L0Error:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"{name} is not a readable Parquet file", pointer=pointer) from error


def _check_ends(path: Path, name: str, pointer: str) -> None:
    size = path.stat().st_size
    with path.open("rb") as stream:
        refuse_pickle(stream, name=name, instead="use to_parquet", pointer=pointer)
        head = stream.read(len(_MAGIC))
        stream.seek(max(0, size - _TAIL))
        tail = stream.read(_TAIL)
    room = size - len(_MAGIC) - _TAIL
    if room < 0 or head != _MAGIC or tail[-len(_MAGIC) :] != _MAGIC:
        raise InvalidInput(f"{name} is not a Parquet file: it does not begin and end with PAR1", pointer=pointer)
    footer = int.from_bytes(tail[:4], "little")
    if footer > min(room, _LONGEST_FOOTER):
        raise InvalidInput(
            f"{name} promises a footer of {footer} bytes; the file has room for {room}, "
            f"and {_LONGEST_FOOTER} are read at most",
            pointer=pointer,
        )


def _types(file: Any, pointer: str) -> dict[str, np.dtype[Any]]:
    """Give the numpy type of every column; refuses whatever is no plain number (or boolean)."""
    types = [(field.name, str(field.type)) for field in file.schema_arrow]
    for name, told in types:
        if told not in _DTYPES:
            raise InvalidInput(
                f"column {name[:64]!r} of the Parquet file holds {told[:64]}; send float32, float64 or integers",
                pointer=pointer,
            )
    return {name: _DTYPES[told] for name, told in types}


def _check_triples(types: dict[str, np.dtype[Any]], pointer: str) -> None:
    for name in ("row", "col"):
        if types[name].kind not in "iu":
            raise InvalidMatrix(f"column {name!r} holds {types[name]}; it needs integers", pointer=pointer)
    if types["value"].kind not in "fiu":
        raise InvalidMatrix(
            f"column 'value' holds {types['value']}; send float32, float64 or integers", pointer=pointer
        )


def _shown(file: Any) -> str:
    names = [name[:32] for name in file.schema_arrow.names[:8]]
    return ", ".join(names) + (", ..." if len(file.schema_arrow.names) > len(names) else "")


def _shape(file: Any, pointer: str) -> tuple[int, int] | None:
    text = (file.metadata.metadata or {}).get(b"shape")
    if text is None:
        return None
    try:
        shape = json.loads(text) if len(text) <= _LONGEST_SHAPE else None
    except (ValueError, RecursionError):
        shape = None
    match shape:
        case [int(rows), int(columns)] if not isinstance(rows, bool) and not isinstance(columns, bool):
            if min(rows, columns) >= 0:
                return rows, columns
    raise InvalidMatrix(
        "the Parquet file's metadata has a shape that is not [rows, columns], two whole numbers of 0 or more",
        pointer=pointer,
    )


def _promised_rows(file: Any, path: Path, limits: Limits, row_bytes: int, pointer: str) -> int:
    """Give how many rows the footer promises, having compared that and the size of its pages with the limits."""
    metadata = file.metadata
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    pages = sum(max(0, group.total_byte_size) for group in groups)
    rows: int = metadata.num_rows
    if rows < 0 or rows != sum(group.num_rows for group in groups):
        raise InvalidInput(f"the Parquet file promises {rows} rows and its row groups others", pointer=pointer)
    check_expansion(max(pages, rows * row_bytes), path.stat().st_size, limits, name="Parquet file", pointer=pointer)
    return rows


def _read(file: Any, dtypes: dict[str, np.dtype[Any]], rows: int, pointer: str) -> dict[str, NDArray[Any]]:
    """Give each column whole, read batch by batch; it must be as long as was promised."""
    held = {name: np.empty(rows, dtype=dtype) for name, dtype in dtypes.items()}
    seen = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(dtypes), use_threads=False):
        end = seen + batch.num_rows
        if end > rows:
            raise InvalidInput(f"the Parquet file has more than the {rows} rows it promises", pointer=pointer)
        for name, column in held.items():
            column[seen:end] = _numbers(batch.column(name), name, column.dtype, seen, pointer)
        seen = end
    if seen < rows:
        raise InvalidInput(f"the Parquet file promises {rows} rows and has {seen}", pointer=pointer)
    return held


def _numbers(column: Any, name: str, dtype: np.dtype[Any], before: int, pointer: str) -> NDArray[Any]:
    if column.null_count:
        first = before + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InvalidInput(
            f"row {first} of the Parquet file has no {name[:64]} (null); every entry needs a number", pointer=pointer
        )
    numbers: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    if dtype == np.int64 and numbers.dtype.kind == "u" and numbers.max(initial=0) > np.iinfo(np.int64).max:
        at = int(np.argmax(numbers > np.iinfo(np.int64).max))
        raise InvalidMatrix(
            f"row {before + at} of the Parquet file has {name} {numbers[at]}, which is beyond int64", pointer=pointer
        )
    return numbers
