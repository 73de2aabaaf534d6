"""Weights as a client wants them: JSON, NumPy, CSV, Parquet, Arrow; each written to a file, some units at a time."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from service.api.negotiation import Format
from service.api.table_formats import write_arrow, write_csv, write_parquet
from service.api.tables import Column, Table, Writer
from service.jobs.results import ActiveWeights

Weights = ActiveWeights | NDArray[np.float64]
WeightsWriter = Callable[[Weights, BinaryIO], None]
_UNITS_A_CHUNK = 250_000
_TYPES = {"index": "int64", "weight": "float64"}
_ROW = np.dtype([("index", "<i8"), ("weight", "<f8")])


def _parts(weights: Weights) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Give indices and weights of the units, some at a time, at least once."""
    size = weights.values.size if isinstance(weights, ActiveWeights) else weights.size
    for start in range(0, max(size, 1), _UNITS_A_CHUNK):
        part = slice(start, start + _UNITS_A_CHUNK)
        if isinstance(weights, ActiveWeights):
            yield weights.indices[part], weights.values[part]
        else:
            yield np.arange(start, min(start + _UNITS_A_CHUNK, size), dtype=np.int64), weights[part]


def _json(weights: Weights, file: BinaryIO) -> None:
    if isinstance(weights, ActiveWeights):
        file.write(b'{"indices": [')
        _numbers((indices for indices, _ in _parts(weights)), file)
        file.write(b'], "values": [')
        _numbers((values for _, values in _parts(weights)), file)
        file.write(f'], "count": {weights.indices.size}, "n_units": {weights.n_units}}}'.encode())
        return
    file.write(b'{"values": [')
    _numbers((values for _, values in _parts(weights)), file)
    file.write(f'], "n_units": {weights.size}}}'.encode())


def _numbers(parts: Iterator[NDArray[Any]], file: BinaryIO) -> None:
    for number, part in enumerate(parts):
        file.write(b", " if number else b"")
        file.write(json.dumps(part.tolist())[1:-1].encode())


def _npy(weights: Weights, file: BinaryIO) -> None:
    if not isinstance(weights, ActiveWeights):
        npy_format.write_array(file, weights, allow_pickle=False)
        return
    shape: dict[str, Any] = {"descr": npy_format.dtype_to_descr(_ROW), "fortran_order": False}
    npy_format.write_array_header_1_0(file, shape | {"shape": weights.indices.shape})
    for indices, values in _parts(weights):
        rows = np.empty(indices.size, dtype=_ROW)
        rows["index"], rows["weight"] = indices, values
        file.write(rows.tobytes())


def _as_table(weights: Weights) -> Table:
    rows: Iterator[Mapping[str, Column]] = ({"index": i, "weight": w} for i, w in _parts(weights))
    return Table(types=_TYPES, chunks=rows)


def _tabular(write: Writer) -> WeightsWriter:
    return lambda weights, file: write(_as_table(weights), file)


FORMATS: dict[str, Format[WeightsWriter]] = {
    "json": Format(media_type="application/json", write=_json),
    "npy": Format(media_type="application/x-npy", write=_npy),
    "csv": Format(media_type="text/csv; charset=utf-8", write=_tabular(write_csv)),
    "parquet": Format(media_type="application/vnd.apache.parquet", write=_tabular(write_parquet)),
    "arrow": Format(media_type="application/vnd.apache.arrow.file", write=_tabular(write_arrow)),
}
