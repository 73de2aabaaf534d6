"""Answers that are written to a file first, a nameless one: their size is known, and parts of them can be asked for."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from typing import BinaryIO, cast

from fastapi import Request, Response

from l0core.version import VERSION
from service.api.preconditions import is_known
from service.api.ranges import asked_part, file_response
from service.problems.room import room
from service.storage import Store


def etag_of(*what: object) -> str:
    """Give the strong ETag of what these and this release's code alone decide."""
    said = "\0".join(map(str, (VERSION, *what)))
    return f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"'


def rendered(
    request: Request,
    store: Store,
    write: Callable[[BinaryIO], None],
    *,
    etag: str,
    media_type: str,
    headers: Mapping[str, str],
) -> Response:
    """Give the answer that `write` writes, whole or in part; 304 and nothing written where the client has it."""
    shown = {**headers, "ETag": etag, "Vary": "Accept"}
    if is_known(request, etag):
        return Response(status_code=304, headers=shown)
    with room("the answer"):
        file = cast("BinaryIO", tempfile.TemporaryFile(dir=store.scratch()))  # noqa: SIM115 - the response closes it
        try:
            write(file)
            file.flush()
            size = file.tell()
            part = asked_part(request, etag, size)
        except BaseException:
            file.close()
            raise
    return file_response(file, part, size, media_type=media_type, headers=shown)
