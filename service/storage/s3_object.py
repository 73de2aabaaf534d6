"""One object of a bucket as a file: read at any place, and not much more of it than is asked for."""

import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from service.storage.base import StoreUnavailable
from service.storage.s3_client import told_as_os_errors

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client

_BUFFER_BYTES = 2**18
_FIRST_WINDOW_BYTES, _LARGEST_WINDOW_BYTES = 2**20, 2**26


@dataclass(frozen=True, kw_only=True)
class Found:
    """An object that is there, as it was when it was looked for."""

    bucket: str
    name: str
    etag: str
    size_bytes: int
    sha256: str | None  # None where another program put it there


def find(client: "S3Client", bucket: str, name: str) -> Found:
    """Look for an object; KeyError where there is none."""
    with told_as_os_errors(name):
        head = client.head_object(Bucket=bucket, Key=name)
    return Found(
        bucket=bucket,
        name=name,
        etag=head["ETag"],
        size_bytes=head["ContentLength"],
        sha256=head["Metadata"].get("sha256"),
    )


def opened(client: "S3Client", found: Found) -> io.BufferedReader:
    """Give the object as a file."""
    return io.BufferedReader(ObjectStream(client, found), _BUFFER_BYTES)


class ObjectStream(io.RawIOBase):
    """Reads by windows: each is one request for a range, and twice as long as the one before while nobody seeks.

    So a few bytes from the middle cost one short answer, and a whole object few requests. Every window must be of the
    object that was found.
    """

    def __init__(self, client: "S3Client", found: Found) -> None:
        self._client, self._found = client, found
        self._position = 0
        self._body: StreamingBody | None = None
        self._left_bytes, self._window_bytes = 0, _FIRST_WINDOW_BYTES

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place; the next read asks for what is there."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._found.size_bytes}[whence]
        if start + offset < 0:
            raise ValueError(f"a file has no byte {start + offset}")
        if start + offset != self._position:
            self._drop()
            self._position, self._window_bytes = start + offset, _FIRST_WINDOW_BYTES
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read the next bytes: at least one before the end."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._found.size_bytes - self._position)
        if wanted <= 0:
            return 0
        data = self._read(wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Drop what was asked for and not read."""
        self._drop()
        super().close()

    def _read(self, wanted: int) -> bytes:
        """Read from the window; where its connection breaks, ask once more for what is missing."""
        with told_as_os_errors(self._found.name):
            try:
                return self._from_window(wanted)
            except BotoCoreError:
                self._drop()
                return self._from_window(wanted)

    def _from_window(self, wanted: int) -> bytes:
        if self._body is None:
            self._body = self._next_window()
        data = self._body.read(min(wanted, self._left_bytes))
        self._left_bytes -= len(data)
        if self._left_bytes == 0:
            self._body = None
        return data

    def _next_window(self) -> "StreamingBody":
        found, first = self._found, self._position
        after = min(first + self._window_bytes, found.size_bytes)
        self._window_bytes = min(2 * self._window_bytes, _LARGEST_WINDOW_BYTES)
        try:
            with told_as_os_errors(found.name):
                answer = self._client.get_object(
                    Bucket=found.bucket, Key=found.name, Range=f"bytes={first}-{after - 1}", IfMatch=found.etag
                )
        except KeyError:
            raise StoreUnavailable(f"{found.name} was deleted while it was read") from None
        if answer["ETag"] != found.etag:  # not every server knows If-Match
            answer["Body"].close()
            raise StoreUnavailable(f"{found.name} was replaced while it was read")
        self._left_bytes = after - first
        return answer["Body"]

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
