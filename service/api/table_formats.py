"""The formats tables are given in; those of Arrow are loaded when one is asked for."""

from typing import BinaryIO

from service.api.tables import Table, write_csv

__all__ = ["write_arrow", "write_csv", "write_parquet"]


def write_parquet(table: Table, file: BinaryIO) -> None:
    """Write a Parquet file, a row group a chunk."""
    from service.api import arrow  # noqa: PLC0415 - 50 MB of memory that most processes never need

    arrow.write_parquet(table, file)


def write_arrow(table: Table, file: BinaryIO) -> None:
    """Write an Arrow IPC file, a record batch a chunk."""
    from service.api import arrow  # noqa: PLC0415 - as above

    arrow.write_arrow(table, file)
