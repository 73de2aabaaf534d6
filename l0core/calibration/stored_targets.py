"""A page of a stored problem's targets: the matrix is not read, and neither scipy nor torch is needed."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from l0core.canonical import values_in

_COLUMNS = {"value": "targets", "weight": "target_weights", "group": "target_groups", "holdout": "holdout"}
_OPTIONAL = {"scale": "target_scales", "tolerance": "target_tolerances"}


def stored_targets(path: Path, start: int, stop: int) -> list[dict[str, Any]]:
    """Give the targets from `start` to the one before `stop`: index, name, value and what else was given of each."""
    with safe_open(path, framework="numpy") as file:
        names = values_in(file)["target_names"][start:stop]
        there = set(file.keys())
        given = {
            column: file.get_slice(array)[start : start + len(names)]
            for column, array in {**_COLUMNS, **_OPTIONAL}.items()
            if array in there
        }
    return [_row(start + place, name, {c: a[place] for c, a in given.items()}) for place, name in enumerate(names)]


def _row(index: int, name: str, given: dict[str, np.generic]) -> dict[str, Any]:
    values = {column: given[column].item() if column in given else None for column in {**_COLUMNS, **_OPTIONAL}}
    return {"index": index, "name": name, **values, "holdout": bool(values["holdout"])}
