"""Tables of results as a client wants them: JSON, CSV, Parquet, Arrow, NumPy; each written some rows at a time."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from service.api.negotiation import Format
from service.api.table_formats import write_arrow, write_csv, write_parquet
from service.api.tables import Table, Writer

_ROWS_A_CHUNK = 250_000
_TYPES = {"b": "bool", "i": "int64", "u": "uint64", "f": "float64", "U": "string"}


@dataclass(frozen=True, kw_only=True)
class Records:
    """Rows with named fields, and the name of each field where it stands as a column of JSON."""

    rows: NDArray[np.void]
    columns: Mapping[str, str]

    def parts(self) -> Iterator[NDArray[np.void]]:
        """Give the rows, some at a time, at least once."""
        for start in range(0, max(self.rows.size, 1), _ROWS_A_CHUNK):
            yield self.rows[start : start + _ROWS_A_CHUNK]


RecordsWriter = Callable[[Records, BinaryIO], None]


def _json(records: Records, file: BinaryIO) -> None:
    file.write(b"{")
    for field, column in records.columns.items():
        file.write(f"{json.dumps(column)}: [".encode())
        for number, part in enumerate(records.parts()):
            file.write(b", " if number else b"")
            file.write(json.dumps(_listed(part[field]), allow_nan=False)[1:-1].encode())
        file.write(b"], ")
    file.write(f'"count": {records.rows.size}}}'.encode())


def _listed(values: NDArray[Any]) -> list[Any]:
    """Give values as JSON has them: null for a number that is none."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        listed: list[Any] = values.tolist()
        return listed
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _npy(records: Records, file: BinaryIO) -> None:
    descr = {"descr": npy_format.dtype_to_descr(records.rows.dtype), "fortran_order": False}
    npy_format.write_array_header_1_0(file, descr | {"shape": records.rows.shape})
    for part in records.parts():
        file.write(part.tobytes())


def _as_table(records: Records) -> Table:
    types = {name: _TYPES[records.rows.dtype[name].kind] for name in records.columns}
    return Table(types=types, chunks=({name: part[name].copy() for name in types} for part in records.parts()))


def _tabular(write: Writer) -> RecordsWriter:
    return lambda records, file: write(_as_table(records), file)


FORMATS: dict[str, Format[RecordsWriter]] = {
    "json": Format(media_type="application/json", write=_json),
    "csv": Format(media_type="text/csv; charset=utf-8", write=_tabular(write_csv)),
    "parquet": Format(media_type="application/vnd.apache.parquet", write=_tabular(write_parquet)),
    "arrow": Format(media_type="application/vnd.apache.arrow.file", write=_tabular(write_arrow)),
    "npy": Format(media_type="application/x-npy", write=_npy),
}
