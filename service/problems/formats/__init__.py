"""File formats of uploads: one module a format, each with functions from a path to arrays, none trusting a byte.

Every reader looks at headers first and refuses by size before it reads data. A module is loaded when its format is
first read: most uploads need no Arrow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from l0core.errors import InvalidInput
from l0core.matrices import RawMatrix
from service.problems.content_types import MATRIX_MARKET, NPY, NPZ, PARQUET, SAFETENSORS
from service.problems.formats.triples import Triples
from service.problems.limits import Limits

MatrixReader = Callable[[Path, Limits, str], RawMatrix | Triples]
TextsReader = Callable[[Path, Limits, str], list[str]]
VectorReader = Callable[[Path, Limits, str], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A content type and what can be read from it: functions of its module, of path, limits and the field's pointer."""

    content_type: str
    module: str
    matrix: str = "read_matrix"
    vector: str | None = None
    texts: str | None = None

    def matrix_reader(self) -> MatrixReader:
        """Load what reads a matrix."""
        return cast("MatrixReader", self._load(self.matrix))

    def vector_reader(self) -> VectorReader | None:
        """Load what reads a vector; None where the format holds none."""
        return None if self.vector is None else cast("VectorReader", self._load(self.vector))

    def texts_reader(self) -> TextsReader | None:
        """Load what reads texts; None where the format holds none."""
        return None if self.texts is None else cast("TextsReader", self._load(self.texts))

    def _load(self, name: str) -> object:
        return getattr(import_module(f"{__name__}.{self.module}"), name)


FORMATS = {
    each.content_type: each
    for each in (
        Format(content_type=NPZ, module="npz"),
        Format(content_type=NPY, module="npy", vector="read_vector", texts="read_texts"),
        Format(content_type=MATRIX_MARKET, module="matrix_market"),
        Format(content_type=PARQUET, module="parquet", matrix="read_triples", vector="read_vector", texts="read_texts"),
        Format(content_type=SAFETENSORS, module="safetensors", vector="read_vector"),
    )
}


def read_matrix(path: Path, content_type: str, limits: Limits, pointer: str, *, rows: int | None = None) -> RawMatrix:
    """Read a matrix; InvalidInput where the bytes are not what they say.

    `rows` is what is known of its rows from elsewhere, for formats that may leave the shape out.
    """
    found = FORMATS[content_type].matrix_reader()(path, limits, pointer)
    if not isinstance(found, Triples):
        return found
    matrix = found.matrix(rows)
    limits.check_matrix(matrix.shape, matrix.data.size, pointer)
    return matrix


def read_vector(path: Path, content_type: str, limits: Limits, pointer: str) -> NDArray[Any]:
    """Read a vector; InvalidInput where the format holds none or the bytes are not what they say."""
    reader = FORMATS[content_type].vector_reader()
    if reader is None:
        raise InvalidInput(f"an upload of type {content_type} cannot be a vector; send {NPY}", pointer=pointer)
    return reader(path, limits, pointer)


def read_texts(path: Path, content_type: str, limits: Limits, pointer: str) -> list[str]:
    """Read texts; InvalidInput where the format holds none or the bytes are not what they say."""
    reader = FORMATS[content_type].texts_reader()
    if reader is None:
        text = f"an upload of type {content_type} holds no texts; send {NPY} of dtype U, or one column of {PARQUET}"
        raise InvalidInput(text, pointer=pointer)
    return reader(path, limits, pointer)
