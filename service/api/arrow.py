"""The formats of Apache Arrow: Parquet, and its own file."""

from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from service.api.tables import Table


def write_parquet(table: Table, file: BinaryIO) -> None:
    """Write a row group a chunk; numbers that hardly repeat are not looked up in dictionaries."""
    texts = [name for name, kind in table.types.items() if kind == "string"]
    with pq.ParquetWriter(file, _schema(table), use_dictionary=texts) as writer:
        for chunk in table.chunks:
            writer.write_table(pa.table(dict(chunk), schema=_schema(table)))


def write_arrow(table: Table, file: BinaryIO) -> None:
    """Write a record batch a chunk."""
    with pa.ipc.new_file(file, _schema(table)) as writer:
        for chunk in table.chunks:
            writer.write_table(pa.table(dict(chunk), schema=_schema(table)))


def _schema(table: Table) -> pa.Schema:
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in table.types.items()])
