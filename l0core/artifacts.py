"""The files of a result, each written in one way: tables, JSON, text, bytes, and the checkpoint it came from."""

import csv
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from l0core.kind import Artifact
from l0core.plain import plain

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
CHECKPOINT = "checkpoint.safetensors"


def safe_cell(text: str) -> str:
    """Give a text that no spreadsheet takes for a formula.

    >>> safe_cell("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def table_file(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Artifact:
    """Write a CSV with a head."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return Artifact(path=path, content_type="text/csv; charset=utf-8")


def json_file(path: Path, value: object) -> Artifact:
    """Write JSON; numbers that are not finite become null."""
    path.write_text(json.dumps(plain(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return Artifact(path=path, content_type="application/json")


def page_file(path: Path, page: str) -> Artifact:
    """Write a page of HTML."""
    path.write_text(page, encoding="utf-8")
    return Artifact(path=path, content_type="text/html; charset=utf-8")


def checkpoint_file(checkpoint: Path | None, folder: Path) -> list[Artifact]:
    """Put the last checkpoint into `folder`, where there is one."""
    if checkpoint is None:
        return []
    path = folder / CHECKPOINT
    if checkpoint.resolve() != path.resolve():
        shutil.copyfile(checkpoint, path)
    return [Artifact(path=path, content_type="application/x-safetensors")]
