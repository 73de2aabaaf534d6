"""Files on their way out: an array written to a temporary file, or a file of the user's, sent in pieces."""

import asyncio
import base64
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import scipy.sparse as sp

_CHUNK_BYTES = 2**20
_IN_MEMORY_BYTES = 2**23  # a smaller array is not written to disk
_READ_BY_THE_SERVICE = ("csr", "csc", "coo")
CONTENT_TYPES = {
    ".npz": "application/x-npz",
    ".npy": "application/x-npy",
    ".mtx": "text/x-matrix-market",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/x-safetensors",
}
ENCODINGS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """An open file that can be sent more than once; `encoding` is how it is packed, if it is."""

    file: BinaryIO
    content_type: str
    encoding: str | None = None
    size_bytes: int
    digest: bytes

    @property
    def sha256(self) -> str:
        """The digest in hexadecimal."""
        return self.digest.hex()

    @property
    def headers(self) -> dict[str, str]:
        """What is said of the bytes ahead of them."""
        packed = {} if self.encoding is None else {"Content-Encoding": self.encoding}
        return packed | {
            "Content-Type": self.content_type,
            "Content-Length": str(self.size_bytes),
            "Content-Digest": f"sha-256=:{base64.b64encode(self.digest).decode()}:",
        }

    def chunks(self) -> Iterator[bytes]:
        """Give the bytes from the start, some at a time."""
        self.file.seek(0)
        while chunk := self.file.read(_CHUNK_BYTES):
            yield chunk

    async def chunks_awaited(self) -> AsyncIterator[bytes]:
        """Give the bytes from the start, read beside the event loop."""
        self.file.seek(0)
        while chunk := await asyncio.to_thread(self.file.read, _CHUNK_BYTES):
            yield chunk


def outgoing(source: object) -> Outgoing:
    """Open a file by its path, or write an array or a sparse matrix to a temporary one; the caller closes it."""
    if isinstance(source, str | Path):
        content_type, encoding = kind_of(Path(source))
        file: BinaryIO = Path(source).open("rb")  # noqa: SIM115 - the caller's
    else:
        (file, content_type), encoding = _written(source), None
    digest = _sha256(file)
    return Outgoing(file=file, content_type=content_type, encoding=encoding, size_bytes=file.tell(), digest=digest)


def _sha256(file: BinaryIO) -> bytes:
    found = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        found.update(chunk)
    return found.digest()


def kind_of(path: Path) -> tuple[str, str | None]:
    """Give content type and encoding of a file, by its name.

    >>> kind_of(Path("M.mtx.gz")), kind_of(Path("y.npy"))
    (('text/x-matrix-market', 'gzip'), ('application/x-npy', None))
    """
    *_, before, last = ("", "", *(suffix.lower() for suffix in path.suffixes))
    encoding = ENCODINGS.get(last)
    content_type = CONTENT_TYPES.get(last if encoding is None else before)
    if content_type is None:
        known = ", ".join(CONTENT_TYPES)
        raise ValueError(f"'{path.name}' can not be sent: its name must end in {known}, and .gz or .zst behind it")
    return content_type, encoding


def _written(array: object) -> tuple[BinaryIO, str]:
    file = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES))  # noqa: SIM115 - the caller's
    try:
        suffix = _write(array, file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file, CONTENT_TYPES[suffix]


def _write(array: object, file: BinaryIO) -> str:
    if sp.issparse(array):
        sparse = cast("sp.csr_array", array)
        sp.save_npz(file, sparse if sparse.format in _READ_BY_THE_SERVICE else sparse.tocsr(), compressed=False)
        return ".npz"
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return ".npy"
