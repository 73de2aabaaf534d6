"""NumPy's .npy: header first, compared with the bytes that are there, then the data. Never a pickle."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from l0core.errors import InvalidInput, InvalidMatrix
from l0core.matrices import RawMatrix, parts
from service.problems.formats.pickles import PickleNotAllowed, refuse_pickle
from service.problems.limits import Limits

_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
_LONGEST_HEADER = 10_000
_MOST_DIMENSIONS = 8
_LONGEST = 2**53


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a .npy says of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    data_start: int

    @property
    def items(self) -> int:
        """How many numbers it promises."""
        return math.prod(self.shape)

    @property
    def data_bytes(self) -> int:
        """How many bytes of data it promises."""
        return self.items * self.dtype.itemsize


def read_header(stream: IO[bytes], *, name: str, pointer: str) -> Header:
    """Read the header and nothing more."""
    refuse_pickle(stream, name=name, instead="save arrays with numpy.save", pointer=pointer)
    try:
        version = npy_format.read_magic(stream)
        shape, fortran_order, dtype = _HEADERS[version](stream, max_header_size=_LONGEST_HEADER)
    except Exception as error:
        raise InvalidInput(f"{name} is not a NumPy .npy file: its header cannot be read", pointer=pointer) from error
    if dtype.hasobject:
        raise PickleNotAllowed(
            f"{name} holds Python objects, which are pickled; pickles are never read: save numbers", pointer=pointer
        )
    if dtype.subdtype is not None or dtype.itemsize == 0 or dtype == np.float16:
        raise InvalidInput(f"{name} holds {dtype}; send float32, float64 or integers", pointer=pointer)
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise InvalidInput(f"{name} has shape {shape}, with a negative length or none", pointer=pointer)
    return Header(shape=shape, dtype=dtype, fortran_order=fortran_order, data_start=stream.tell())


def check_size(header: Header, bytes_there: int, limits: Limits, *, name: str, pointer: str) -> None:
    """Refuse a header that promises other bytes than are there, or too many."""
    promised = header.data_start + header.data_bytes
    if promised != bytes_there:
        raise InvalidInput(
            f"{name} promises {promised} bytes by its header (shape {header.shape}, {header.dtype}) "
            f"and has {bytes_there}",
            pointer=pointer,
        )
    if len(header.shape) > _MOST_DIMENSIONS or max(header.shape, default=0) > _LONGEST:
        raise InvalidInput(f"{name} has shape {str(header.shape)[:80]}, which no array has", pointer=pointer)
    if promised > limits.bytes:
        raise InvalidInput(f"{name} has {promised} bytes; the limit is {limits.bytes}", pointer=pointer)


def read_data(stream: IO[bytes], header: Header) -> NDArray[Any]:
    """Read what the checked header promises, in the machine's byte order."""
    flat = np.frombuffer(stream.read(header.data_bytes), dtype=header.dtype, count=header.items)
    array = flat.reshape(header.shape, order="F" if header.fortran_order else "C")
    return array.astype(header.dtype.newbyteorder("="), copy=False)


def read_vector(path: Path, limits: Limits, pointer: str) -> NDArray[Any]:
    """Read an upload that holds one array; its length is checked where its meaning is known."""
    name = f"the upload of {pointer.lstrip('/')}"
    with path.open("rb") as stream:
        header = read_header(stream, name=name, pointer=pointer)
        check_size(header, path.stat().st_size, limits, name=name, pointer=pointer)
        return read_data(stream, header)


def read_texts(path: Path, limits: Limits, pointer: str) -> list[str]:
    """Read an array of unicode texts (dtype U), in the machine's order of bytes or the other."""
    array = read_vector(path, limits, pointer)
    if array.dtype.kind != "U" or array.ndim != 1:
        name = pointer.lstrip("/")
        text = f"{name} holds {array.dtype} of shape {array.shape}; send one dimension of dtype U (numpy.array of str)"
        raise InvalidInput(text, pointer=pointer)
    texts: list[str] = array.tolist()
    return texts


def read_matrix(path: Path, limits: Limits, pointer: str) -> RawMatrix:
    """Read a dense matrix as its nonzeros."""
    return nonzeros(read_vector(path, limits, pointer), limits, pointer)


def nonzeros(dense: NDArray[Any], limits: Limits, pointer: str) -> RawMatrix:
    """Give a dense array as a matrix; refuses one that has not two dimensions, or holds no numbers."""
    if dense.ndim != 2:
        raise InvalidInput(f"the matrix's array has {dense.ndim} dimensions; a dense matrix has 2", pointer=pointer)
    if dense.dtype.kind not in "fiu" or dense.dtype.itemsize > 8:
        raise InvalidMatrix(f"the matrix holds {dense.dtype}; send float32, float64 or integers", pointer=pointer)
    limits.check_matrix((dense.shape[0], dense.shape[1]), int(np.count_nonzero(dense)), pointer)
    return parts(dense)
