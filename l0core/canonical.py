"""One form for the content of a problem: named arrays and JSON values, with a digest, kept in one safetensors file.

The digest is over the numbers, not over how they were sent: int64 and float64, little-endian, C order.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

_MOST_IN_HEADER = 50 << 20  # characters of values: safetensors reads a header of 100 MB at most
_VALUES = "values as text"  # the array that holds longer ones
_CHUNK = 1 << 20  # items converted at a time while hashing, so that hashing takes no memory to speak of


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a problem consists of; `values` must be JSON (names, shapes, switches).

    `notes` (JSON too) are kept with it and are no part of its digest: how it came, not what it is.
    """

    kind: str
    arrays: Mapping[str, NDArray[Any]]
    values: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[Any] = ()

    def sha256(self) -> str:
        """Give the digest of kind, values and arrays as hex."""
        digest = hashlib.sha256()
        head = {"kind": self.kind, "values": self.values, "arrays": {n: a.shape for n, a in self.arrays.items()}}
        digest.update(json.dumps(head, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
        for name in sorted(self.arrays):
            _update(digest, self.arrays[name])
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write everything to `path` as safetensors; no pickle anywhere."""
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        values = json.dumps(self.values)
        if len(values) > _MOST_IN_HEADER:
            arrays[_VALUES], values = np.frombuffer(values.encode(), dtype=np.uint8), ""
        save_file(arrays, path, metadata={"kind": self.kind, "values": values, "notes": json.dumps(list(self.notes))})

    @staticmethod
    def load(path: Path) -> "Content":
        """Read what `save` wrote."""
        with safe_open(path, framework="numpy") as file:
            metadata, values = file.metadata(), values_in(file)
            names = [name for name in file.keys() if name != _VALUES]  # noqa: SIM118 - not a mapping
            arrays = {name: file.get_tensor(name) for name in names}
        return Content(kind=metadata["kind"], arrays=arrays, values=values, notes=json.loads(metadata["notes"]))


class Addressed:
    """What is known by its content: a base of problems, which say what their `content` is."""

    @property
    def content(self) -> Content:
        """Everything it consists of."""
        raise NotImplementedError

    @cached_property
    def sha256(self) -> str:
        """The content address: the same numbers give the same digest in whatever form they were sent."""
        return self.content.sha256()

    def save(self, path: Path) -> None:
        """Write it to one safetensors file."""
        self.content.save(path)


def values_in(file: Any) -> dict[str, Any]:
    """Give the values in an open file that `Content.save` wrote; no array of it is read."""
    values: dict[str, Any] = json.loads(file.metadata()["values"] or file.get_tensor(_VALUES).tobytes())
    return values


def _update(digest: "hashlib._Hash", array: NDArray[Any]) -> None:
    plain = "<f8" if array.dtype.kind == "f" else "<i8"
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        digest.update(flat[start : start + _CHUNK].astype(plain).tobytes())
