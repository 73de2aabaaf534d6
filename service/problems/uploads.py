"""Receiving bytes: to disk and through the hash as they arrive, never in memory, nothing left of half an upload."""

import base64
import hashlib
import os
import re
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy.exc import IntegrityError

from service.errors import DigestMismatch, PayloadTooLarge
from service.ids import new_id
from service.problems import repository
from service.problems.encodings import IDENTITY, decoder_of
from service.problems.models import Upload
from service.problems.room import room
from service.resources import Resources
from service.storage import Store
from service.storage.forgetting import forget
from service.storage.held import held_file

_DIGEST = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*(?:;.*)?")


_WRITE_BACK_BYTES = 8 * 2**20


@dataclass(frozen=True, kw_only=True)
class Received:
    """An upload that has arrived whole."""

    path: Path
    sha256: str
    size_bytes: int


class Receiver:
    """A file on its way in, decoded where it is encoded; leaving the context removes it unless it was kept.

    `sha256` and `size_bytes` of what was received are of the decoded bytes, a Content-Digest is of the bytes as sent.
    """

    def __init__(self, store: Store, limit: int, *, encoding: str = IDENTITY) -> None:
        self._limit = limit
        self._size = self._written_back = 0
        self._hash = hashlib.sha256()
        self._decoder = decoder_of(encoding)
        self._sent_hash = hashlib.sha256() if self._decoder else self._hash
        self._stack = ExitStack()
        with room("the upload"):
            self._path = self._stack.enter_context(held_file(store.scratch()))
            self._file = self._path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what a full disk did not take is thrown away with the rest
            self._file.close()
        self._stack.close()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes as they were sent; refuses the first decoded byte over the limit."""
        if self._decoder is None:
            self._take(chunk)
            return
        self._sent_hash.update(chunk)
        for piece in self._decoder.pieces(chunk):
            self._take(piece)

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            raise PayloadTooLarge(f"the upload has more than {self._limit} bytes, the limit of this service")
        self._hash.update(piece)
        with room("the upload"):
            self._file.write(piece)
            self._write_back()

    def _write_back(self) -> None:
        """Let the disk begin with what has come, so that the sync at the end has little left to wait for."""
        if self._size - self._written_back >= _WRITE_BACK_BYTES:
            span = self._size - self._written_back
            os.posix_fadvise(self._file.fileno(), self._written_back, span, os.POSIX_FADV_DONTNEED)
            self._written_back = self._size

    def finish(self, content_digest: str | None) -> Received:
        """Close the file and compare what was sent with the client's digest, where there is one."""
        with room("the upload"):
            self._file.close()
        if self._decoder is not None:
            self._decoder.finish()
        check_digest(content_digest, self._sent_hash.digest())
        return Received(path=self._path, sha256=self._hash.hexdigest(), size_bytes=self._size)


def check_digest(header: str | None, digest: bytes) -> None:
    """Refuse bytes that are not the ones a Content-Digest header (RFC 9530) names, and a header that names none.

    Algorithms other than sha-256 are passed over, as the RFC allows.

    >>> check_digest("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", hashlib.sha256(b"").digest())
    """
    named = dict(_named_digest(part) for part in header.split(",")) if header and header.strip() else {}
    right = base64.b64encode(digest).decode()
    if named.get("sha-256", right) != right:
        raise DigestMismatch("the body's sha-256 is not the one in Content-Digest; send the upload again")


def _named_digest(part: str) -> tuple[str, str]:
    found = _DIGEST.fullmatch(part)
    if found is None:
        raise DigestMismatch("Content-Digest cannot be read; send sha-256=:<base64 of the body's sha-256>:")
    return found.group(1), found.group(2)


def keep(system: Resources, tenant: str, received: Received, content_type: str) -> tuple[Upload, bool]:
    """Store an upload and list it; gives (upload, whether it is new). The same bytes are stored once a tenant."""
    with system.database.transaction() as session:
        held = repository.use_same_upload(session, tenant, received.sha256, content_type)
    if held is not None:
        return held, False
    upload = Upload(
        id=new_id("upl"),
        tenant=tenant,
        sha256=received.sha256,
        size_bytes=received.size_bytes,
        content_type=content_type,
        storage_key="",
    )
    upload.storage_key = f"uploads/{upload.id}"
    with room("the upload"):
        system.store.put(upload.storage_key, received.path)
    return _list(system, upload)


def _list(system: Resources, upload: Upload) -> tuple[Upload, bool]:
    """List a stored upload; where another request was first with the same bytes, give that one."""
    try:
        with system.database.transaction() as session:
            session.add(upload)
        return upload, True
    except IntegrityError:
        forget(system.store, upload.storage_key)
        with system.database.transaction() as session:
            held = repository.use_same_upload(session, upload.tenant, upload.sha256, upload.content_type)
        if held is None:
            raise
        return held, False
