"""One form for the content of a problem: named arrays and JSON values, with a digest, kept in one safetensors file.

The digest is over the numbers, not over how they were sent: int64 and float64, little-endian, C order.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

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
        metadata = {"kind": self.kind, "values": json.dumps(self.values), "notes": json.dumps(list(self.notes))}
        save_file({name: np.ascontiguousarray(array) for name, array in self.arrays.items()}, path, metadata=metadata)

    @staticmethod
    def load(path: Path) -> "Content":
        """Read what `save` wrote."""
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        values, notes = json.loads(metadata["values"]), json.loads(metadata["notes"])
        return Content(kind=metadata["kind"], arrays=arrays, values=values, notes=notes)


def _update(digest: "hashlib._Hash", array: NDArray[Any]) -> None:
    plain = "<f8" if array.dtype.kind == "f" else "<i8"
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        digest.update(flat[start : start + _CHUNK].astype(plain).tobytes())
