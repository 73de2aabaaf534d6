"""Sending a file whole or in part, by RFC 9110: one range is answered with that part, several with the whole file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Request
from starlette.responses import StreamingResponse

from service.errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*")
_CHUNK_BYTES = 2**18


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some bytes of a file of `size_bytes`: from the `first` to the one before `after`."""

    first: int
    after: int
    size_bytes: int

    @property
    def content_range(self) -> str:
        """The header that says so."""
        return f"bytes {self.first}-{self.after - 1}/{self.size_bytes}"


def asked_part(request: Request, etag: str, size_bytes: int) -> Part | None:
    """Give the part a request asks for, None for the whole: no range, several, a strange one, one of an older file."""
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or found.groups() == ("", "") or request.headers.get("if-range", etag) != etag:
        return None
    return part_of(found.group(1), found.group(2), size_bytes)


def part_of(first: str, last: str, size_bytes: int) -> Part | None:
    """Give the part from `first` to `last`, or of the `last` bytes where there is no first; refuses one that is empty.

    >>> part_of("2", "", 10)
    Part(first=2, after=10, size_bytes=10)
    >>> part_of("", "3", 10).content_range
    'bytes 7-9/10'
    >>> part_of("5", "1", 10)
    """
    if first and last and int(first) > int(last):
        return None
    start = int(first) if first else max(size_bytes - int(last), 0)
    after = min(int(last) + 1, size_bytes) if first and last else size_bytes
    if start >= after:
        text = f"Range asks for nothing that is there; the file has {size_bytes} bytes"
        raise RangeNotSatisfiable(text, headers={"Content-Range": f"bytes */{size_bytes}"})
    return Part(first=start, after=after, size_bytes=size_bytes)


def file_response(
    file: BinaryIO, part: Part | None, size_bytes: int, *, media_type: str, headers: dict[str, str]
) -> StreamingResponse:
    """Send the part, or the whole file; it is closed at the end."""
    shown = {**headers, "Accept-Ranges": "bytes"}
    if part is None:
        shown["Content-Length"] = str(size_bytes)
        return StreamingResponse(_chunks(file, 0, size_bytes), media_type=media_type, headers=shown)
    shown |= {"Content-Length": str(part.after - part.first), "Content-Range": part.content_range}
    return StreamingResponse(_chunks(file, part.first, part.after), 206, media_type=media_type, headers=shown)


def _chunks(file: BinaryIO, first: int, after: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        while first < after:
            chunk = file.read(min(_CHUNK_BYTES, after - first))
            if not chunk:
                raise EOFError("the file is shorter than it was listed")
            first += len(chunk)
            yield chunk
