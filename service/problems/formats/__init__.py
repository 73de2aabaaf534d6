"""File formats of uploads: one module a format, each a function from a path to arrays, none trusting a byte.

Every reader looks at headers first and refuses by size before it reads data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from l0core.errors import InvalidInput
from l0core.matrices import RawMatrix
from service.problems.formats import npy, npz
from service.problems.limits import Limits

MatrixReader = Callable[[Path, Limits, str], RawMatrix]
VectorReader = Callable[[Path, Limits, str], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A content type and what can be read from it; the readers take path, limits and the pointer of the field."""

    content_type: str
    matrix: MatrixReader | None = None
    vector: VectorReader | None = None


FORMATS = {
    each.content_type: each
    for each in (
        Format(content_type="application/x-npz", matrix=npz.read_matrix),
        Format(content_type="application/x-npy", matrix=npy.read_matrix, vector=npy.read_vector),
    )
}


def read_matrix(path: Path, content_type: str, limits: Limits, pointer: str) -> RawMatrix:
    """Read a matrix; InvalidInput where the format holds none or the bytes are not what they say."""
    reader = FORMATS[content_type].matrix
    if reader is None:
        raise InvalidInput(f"an upload of type {content_type} cannot be a matrix", pointer=pointer)
    return reader(path, limits, pointer)


def read_vector(path: Path, content_type: str, limits: Limits, pointer: str) -> NDArray[Any]:
    """Read a vector; InvalidInput where the format holds none or the bytes are not what they say."""
    reader = FORMATS[content_type].vector
    if reader is None:
        raise InvalidInput(
            f"an upload of type {content_type} cannot be a vector; send application/x-npy", pointer=pointer
        )
    return reader(path, limits, pointer)
