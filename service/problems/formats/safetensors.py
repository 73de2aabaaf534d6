"""safetensors, read by its own header: tensors that fill the file without a gap, then the few that are asked for.

A vector is a file of one tensor. A matrix is one tensor of two dimensions, or the parts of a sparse one, named as in an
.npz: data, indices, indptr (compressed rows, or columns where the metadata says `layout`: csc), or data, row, col; its
shape is a tensor `shape` or, as JSON, the metadata's `shape`.
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from l0core.errors import InvalidInput, InvalidMatrix
from l0core.matrices import Coo, Csc, Csr, RawMatrix
from service.problems.formats import npy
from service.problems.formats.pickles import refuse_pickle
from service.problems.limits import Limits

_LENGTH_BYTES = 8
_LONGEST_HEADER = 2**20
_MOST_DIMENSIONS = 8
_LONGEST_SHAPE = 100
_METADATA = "__metadata__"
_FIELDS = frozenset({"dtype", "shape", "data_offsets"})
_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (4, 8)},
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
}
_COMPRESSED = frozenset({"data", "indices", "indptr"})
_TRIPLES = frozenset({"data", "row", "col"})
_LAYOUTS: dict[str, type[Csr] | type[Csc]] = {"csr": Csr, "csc": Csc}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """What the header says of a tensor; its bytes are those from `begin` to `end` of the data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """A checked header: the tensors by name, and the metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    data_start: int


def read_header(stream: IO[bytes], size: int, limits: Limits, *, name: str, pointer: str) -> Header:
    """Read the header of a file of `size` bytes and nothing more; every promise of it is compared with `size`."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    if size < _LENGTH_BYTES or length > min(size - _LENGTH_BYTES, _LONGEST_HEADER):
        stream.seek(0)
        refuse_pickle(stream, name=name, instead="use safetensors.numpy.save_file", pointer=pointer)
        raise InvalidInput(
            f"{name} is not a safetensors file: it promises a header of {length} bytes, has {size} in all, "
            f"and {_LONGEST_HEADER} are read at most",
            pointer=pointer,
        )
    described = _json(stream.read(length), name, pointer)
    metadata = _metadata(described.pop(_METADATA, {}), name, pointer)
    tensors = {key: _tensor(key, value, name, pointer) for key, value in described.items()}
    _check_places(tensors, size - _LENGTH_BYTES - length, limits, name, pointer)
    return Header(tensors=tensors, metadata=metadata, data_start=_LENGTH_BYTES + length)


def read_tensor(stream: IO[bytes], header: Header, key: str) -> NDArray[Any]:
    """Read one tensor that the checked header names."""
    tensor = header.tensors[key]
    stream.seek(header.data_start + tensor.begin)
    flat = np.frombuffer(stream.read(tensor.end - tensor.begin), dtype=tensor.dtype)
    return flat.reshape(tensor.shape).astype(tensor.dtype.newbyteorder("="), copy=False)


def read_vector(path: Path, limits: Limits, pointer: str) -> NDArray[Any]:
    """Read the one tensor of a file, whatever its name; its length is checked where its meaning is known."""
    name = f"the upload of {pointer.lstrip('/')}"
    with path.open("rb") as stream:
        header = read_header(stream, path.stat().st_size, limits, name=name, pointer=pointer)
        if len(header.tensors) != 1:
            raise InvalidInput(f"{name} holds {_shown(header)}; a vector is a file of one tensor", pointer=pointer)
        return read_tensor(stream, header, *header.tensors)


def read_matrix(path: Path, limits: Limits, pointer: str) -> RawMatrix:
    """Read a dense matrix or the parts of a sparse one."""
    with path.open("rb") as stream:
        header = read_header(stream, path.stat().st_size, limits, name="the matrix", pointer=pointer)
        if len(header.tensors) == 1:
            return npy.nonzeros(read_tensor(stream, header, *header.tensors), limits, pointer)
        names = header.tensors.keys() - {"shape"}
        if names not in (_COMPRESSED, _TRIPLES):
            raise InvalidMatrix(
                f"the safetensors file holds {_shown(header)}; a matrix is one tensor, or data, indices, indptr, or "
                "data, row, col, with their shape",
                pointer=pointer,
            )
        shape = _shape(stream, header, pointer)
        limits.check_matrix(shape, math.prod(header.tensors["data"].shape), pointer)
        make: Any = Coo if names == _TRIPLES else _layout(header, pointer)
        raw: RawMatrix = make(shape=shape, **{key: read_tensor(stream, header, key) for key in names})
    return raw


def _json(text: bytes, name: str, pointer: str) -> dict[str, Any]:
    try:
        described = json.loads(text.decode("utf-8"), object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name} is not a safetensors file: its header is no JSON", pointer=pointer) from error
    if not isinstance(described, dict):
        raise InvalidInput(f"{name} is not a safetensors file: its header names no tensors", pointer=pointer)
    return described


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _metadata(found: Any, name: str, pointer: str) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidInput(f"{name} has {_METADATA} that are not texts by name", pointer=pointer)
    return found


def _tensor(key: str, told: Any, name: str, pointer: str) -> Tensor:
    match told:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [begin, end]} if set(told) == _FIELDS:
            if all(_is_count(number) for number in (*shape, begin, end)) and len(shape) <= _MOST_DIMENSIONS:
                if code not in _DTYPES:
                    raise InvalidInput(
                        f"tensor {key[:64]!r} of {name} holds {code[:16]}; send F32, F64 or integers", pointer=pointer
                    )
                tensor = Tensor(dtype=_DTYPES[code], shape=tuple(shape), begin=begin, end=end)
                if end - begin == math.prod(shape) * tensor.dtype.itemsize:
                    return tensor
    raise InvalidInput(
        f"tensor {key[:64]!r} of {name} is described wrongly: it needs dtype, shape and data_offsets that agree",
        pointer=pointer,
    )


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _check_places(tensors: dict[str, Tensor], there: int, limits: Limits, name: str, pointer: str) -> None:
    """Refuse tensors that share bytes, leave a gap, or are not all of the file."""
    placed = sorted((tensor.begin, tensor.end) for tensor in tensors.values())
    edges = [(0, 0), *placed, (there, there)]
    if any(following[0] != before[1] for before, following in pairwise(edges)):
        raise InvalidInput(
            f"the tensors of {name} do not fill its {there} bytes of data, one after the other", pointer=pointer
        )
    if there > limits.bytes:
        raise InvalidInput(f"{name} has {there} bytes of data; the limit is {limits.bytes}", pointer=pointer)


def _shown(header: Header) -> str:
    names = sorted(key[:32] for key in header.tensors)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"


def _layout(header: Header, pointer: str) -> type[Csr] | type[Csc]:
    layout = header.metadata.get("layout", "csr")
    if layout not in _LAYOUTS:
        raise InvalidMatrix(f"the safetensors file's layout is {layout[:20]!r}; it must be csr or csc", pointer=pointer)
    return _LAYOUTS[layout]


def _shape(stream: IO[bytes], header: Header, pointer: str) -> tuple[int, int]:
    if ("shape" in header.tensors) == ("shape" in header.metadata):
        raise InvalidMatrix(
            "the safetensors file needs its shape once: as a tensor 'shape', or in the metadata as [rows, columns]",
            pointer=pointer,
        )
    shape = _shape_tensor(stream, header) if "shape" in header.tensors else _shape_text(header.metadata["shape"])
    if len(shape) != 2 or not all(_is_count(length) for length in shape):
        raise InvalidMatrix(
            "the safetensors file's shape must be two whole numbers of 0 or more, rows and columns", pointer=pointer
        )
    return shape[0], shape[1]


def _shape_tensor(stream: IO[bytes], header: Header) -> list[Any]:
    tensor = header.tensors["shape"]
    is_small = len(tensor.shape) == 1 and tensor.end - tensor.begin <= _LONGEST_SHAPE
    return read_tensor(stream, header, "shape").tolist() if is_small else []


def _shape_text(text: str) -> list[Any]:
    try:
        shape = json.loads(text) if len(text) <= _LONGEST_SHAPE else []
    except (ValueError, RecursionError):
        return []
    return shape if isinstance(shape, list) else []
