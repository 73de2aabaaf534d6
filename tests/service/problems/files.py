"""Files as clients send them, whole and broken: bytes of every format, made with no trust in any writer."""

import io
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from resource import RLIMIT_FSIZE, getrlimit, prlimit
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import save

from service.problems.content_types import MATRIX_MARKET, NPY, NPZ, PARQUET, SAFETENSORS
from service.problems.limits import Limits
from service.problems.nursery import nursery

__all__ = ["MATRIX_MARKET", "NPY", "NPZ", "PARQUET", "SAFETENSORS"]
ROOMY = Limits(nonzeros=2**31, units=2**31, targets=10_000_000, bytes=8 * 2**30, memory_bytes=16 * 2**30, seconds=600.0)
TWO_BY_THREE = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])


def npy(array: ArrayLike) -> bytes:
    """Give what numpy.save writes; arrays of objects come out pickled."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=True)
    return buffer.getvalue()


def npy_saying(descr: str, shape: str, data: bytes = b"", *, version: tuple[int, int] = (1, 0)) -> bytes:
    """Give a .npy whose header says what we like, in Python's own words."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode("latin-1")
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + data


def npz(matrix: object) -> bytes:
    """Give what scipy.sparse.save_npz writes."""
    buffer = io.BytesIO()
    sp.save_npz(buffer, matrix)  # type: ignore[arg-type]  # any sparse class, the unreadable ones too
    return buffer.getvalue()


def members(**changed: ArrayLike | bytes | None) -> list[tuple[str, bytes]]:
    """Give the members of TWO_BY_THREE as csr .npz, some of them changed, added or (None) left out."""
    held: dict[str, Any] = {
        "format": np.array(b"csr"),
        "shape": np.array([2, 3]),
        "data": np.array([1.0, 2.0, 3.0]),
        "indices": np.array([0, 1, 2]),
        "indptr": np.array([0, 2, 3]),
    }
    return [
        (f"{name}.npy", value if isinstance(value, bytes) else npy(value))
        for name, value in (held | changed).items()
        if value is not None
    ]


def zipped(parts: Iterable[tuple[str, bytes]], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Give a zip with these members, in this order, the same name twice if need be."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a duplicate name is what some tests are about
        for name, data in parts:
            archive.writestr(name, data)
    return buffer.getvalue()


def csr_with(**changed: ArrayLike | bytes | None) -> bytes:
    """Give TWO_BY_THREE as csr .npz with some members changed."""
    return zipped(members(**changed))


def encrypted(archive: bytes) -> bytes:
    """Give the zip with the encryption flag of its first member set, in both of its headers."""
    changed = bytearray(archive)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[changed.index(signature) + offset] |= 1
    return bytes(changed)


@cache
def bomb() -> bytes:
    """Give an .npz of a few hundred kB that unpacks to 280 MB of zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members(data=None):
            archive.writestr(name, data)
        with archive.open("data.npy", "w") as stream:
            stream.write(npy_saying("'<f8'", "(35000000,)"))
            for _ in range(280):
                stream.write(bytes(1_000_000))
    return buffer.getvalue()


def matrix_market(matrix: object) -> bytes:
    """Give what scipy.io.mmwrite writes, with every digit."""
    buffer = io.BytesIO()
    scipy.io.mmwrite(buffer, matrix, precision=17, symmetry="general")  # type: ignore[arg-type]  # sparse or dense
    return buffer.getvalue()


def mm(*lines: str, kind: str = "coordinate real general", end: str = "\n") -> bytes:
    """Give a Matrix Market file of these lines after its first."""
    return "".join(line + end for line in (f"%%MatrixMarket matrix {kind}", *lines)).encode("latin-1")


def parquet(columns: object, *, shape: str | None = None, **options: Any) -> bytes:
    """Give what pyarrow writes of columns by name, or of a table."""
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    if shape is not None:
        table = table.replace_schema_metadata({"shape": shape})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def triples_with(**changed: Any) -> dict[str, Any]:
    """Give the columns of TWO_BY_THREE, some of them changed, added or (None) left out."""
    held = {"row": np.array([0, 0, 1]), "col": np.array([0, 1, 2]), "value": np.array([1.0, 2.0, 3.0])} | changed
    return {name: value for name, value in held.items() if value is not None}


def tensors_with(**changed: Any) -> bytes:
    """Give TWO_BY_THREE as csr parts in safetensors, some of them changed, added or (None) left out."""
    held = {
        "data": np.array([1.0, 2.0, 3.0]),
        "indices": np.array([0, 1, 2]),
        "indptr": np.array([0, 2, 3]),
        "shape": np.array([2, 3]),
    } | changed
    return save({name: np.asarray(value) for name, value in held.items() if value is not None})


def safetensors_saying(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Give a safetensors file whose header says what we like: JSON, or bytes as they are."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def every_form(dense: NDArray[np.float64]) -> dict[str, tuple[str, bytes]]:
    """Give the same matrix in every form an upload may have: (content type, bytes)."""
    csr = sp.csr_array(dense)
    return {
        "csr": (NPZ, npz(csr)),
        "csc": (NPZ, npz(csr.tocsc())),
        "coo": (NPZ, npz(csr.tocoo())),
        "npy": (NPY, npy(dense)),
        "fortran npy": (NPY, npy(np.asfortranarray(dense))),
        "big-endian npy": (NPY, npy(dense.astype(">f8"))),
        "stored csr": (NPZ, zipped(members_of(csr), compression=zipfile.ZIP_STORED)),
        "Matrix Market": (MATRIX_MARKET, matrix_market(csr)),
        "dense Matrix Market": (MATRIX_MARKET, matrix_market(dense)),
        **_tables(csr),
        **_tensors(csr),
    }


def _tables(csr: sp.csr_array) -> dict[str, tuple[str, bytes]]:
    coo = csr.tocoo()
    shape = json.dumps(list(coo.shape))
    plain = {"row": coo.row, "col": coo.col, "value": coo.data}
    backwards = {"value": coo.data[::-1], "col": coo.col[::-1].astype("u1"), "row": coo.row[::-1].astype("i8")}
    packed = {"compression": "zstd", "row_group_size": 2, "version": "2.6", "data_page_version": "2.0"}
    return {
        "Parquet": (PARQUET, parquet(plain, shape=shape)),
        "backwards Parquet": (PARQUET, parquet(backwards, shape=shape, **packed)),
    }


def _tensors(csr: sp.csr_array) -> dict[str, tuple[str, bytes]]:
    coo, csc, shape = csr.tocoo(), csr.tocsc(), np.array(csr.shape)
    text = {"shape": json.dumps(list(csr.shape))}
    parts = {"data": csc.data, "indices": csc.indices, "indptr": csc.indptr}
    files = {
        "csr": save({"data": csr.data, "indices": csr.indices, "indptr": csr.indptr, "shape": shape}),
        "csc": save(parts, metadata={"layout": "csc"} | text),
        "coo": save({"data": coo.data, "row": coo.row.astype("i2"), "col": coo.col.astype("u4")}, metadata=text),
        "dense": save({"matrix": np.ascontiguousarray(csr.toarray())}),
    }
    return {f"safetensors {name}": (SAFETENSORS, data) for name, data in files.items()}


def members_of(csr: sp.csr_array) -> list[tuple[str, bytes]]:
    """Give a csr matrix as the members of its .npz, indices big-endian and short."""
    return members(
        shape=np.array(csr.shape), data=csr.data, indices=csr.indices.astype(">i4"), indptr=csr.indptr.astype(">i2")
    )


@contextmanager
def no_file_above(size_bytes: int) -> Iterator[None]:
    """Let the kernel refuse every write beyond this size, as a full disk would, for the time of the context.

    It refuses this process and the nursery's children.
    """
    soft, hard = getrlimit(RLIMIT_FSIZE)
    _let_files_grow_to(size_bytes, hard)
    try:
        yield
    finally:
        _let_files_grow_to(soft, hard)


def _let_files_grow_to(size_bytes: int, hard: int) -> None:
    for pid in (os.getpid(), nursery.pid):
        if pid is not None:
            prlimit(pid, RLIMIT_FSIZE, (size_bytes, hard))
