"""Tables as files: rows in chunks, in the format that is asked for, so that no table is ever whole in memory."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from numpy.typing import NDArray

Column = NDArray[Any] | Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Names and types of the columns (of Arrow: int64, float64, string), and the rows, some at a time."""

    types: Mapping[str, str]
    chunks: Iterator[Mapping[str, Column]]


Writer = Callable[[Table, BinaryIO], None]


def write_csv(table: Table, file: BinaryIO) -> None:
    """Write a header and a line a row; floats in full, what is missing as nothing."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(table.types)
    for chunk in table.chunks:
        lines.writerows(zip(*(_listed(chunk[name]) for name in table.types), strict=True))
    text.detach()


def _listed(column: Column) -> Sequence[Any]:
    return column if isinstance(column, list | tuple) else column.tolist()  # type: ignore[union-attr]
