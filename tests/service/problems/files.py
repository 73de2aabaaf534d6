"""Files as clients send them, whole and broken: bytes of .npy and .npz, made with no trust in any writer."""

import io
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
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from service.problems.limits import Limits
from service.problems.nursery import nursery

NPY = "application/x-npy"
NPZ = "application/x-npz"
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
    }


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
