"""Bytes in: streamed to disk and hashed while they arrive."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from service.api.dependencies import NEEDS_ROOM, Tenant, TheSystem
from service.errors import NotFound, UnsupportedMedia
from service.problems import repository
from service.problems.content_types import UPLOAD_CONTENT_TYPES
from service.problems.encodings import checked_encoding
from service.problems.models import Upload
from service.problems.uploads import Receiver, keep

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_CURL = "curl -H 'Content-Type: application/x-npz' --data-binary @M.npz {url}"
_BLOCK_BYTES = 2**20  # handed to a thread at once: each hop costs as much as hashing a tenth of this
_HELD = {
    "ETag": "The sha256 of the bytes, as a strong tag.",
    "Content-Location": "The upload's own path, which ends in its id.",
    "Upload-Size-Bytes": "How many bytes it has.",
    "Upload-Content-Type": "The Content-Type it was sent with.",
}
_FOUND: dict[int | str, dict[str, Any]] = {
    200: {"headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in _HELD.items()}},
    404: {"description": "These bytes are not held; send them."},
}


_SAID = {"content-encoding": "gzip, zstd or identity.", "content-digest": "RFC 9530; sha-256 is compared."}
_HEADERS = [  # said as one line each: generators of clients know no lists in headers
    {"name": name, "in": "header", "required": False, "description": said, "schema": {"type": "string"}}
    for name, said in _SAID.items()
]


@router.post(
    "",
    status_code=201,
    responses={200: {"description": "These bytes are held already."}},
    dependencies=[NEEDS_ROOM],
    openapi_extra={
        "requestBody": {"required": True, "content": dict.fromkeys(UPLOAD_CONTENT_TYPES, _BYTES)},
        "parameters": _HEADERS,
    },
)
async def create_upload(
    request: Request,
    response: Response,
    system: TheSystem,
    tenant: Tenant,
    content_type: Annotated[str | None, Header()] = None,
    content_encoding: Annotated[list[str] | None, Header(include_in_schema=False)] = None,
    content_digest: Annotated[list[str] | None, Header(include_in_schema=False)] = None,
) -> dict[str, Any]:
    """Take the raw body as one upload; gzip and zstd are decoded on the way, Content-Digest is of the bytes as sent."""
    media_type = _checked_media_type(content_type, str(request.url))
    encoding = checked_encoding(_joined(content_encoding))
    receiver = await run_in_threadpool(Receiver, system.store, system.settings.max_upload_bytes, encoding=encoding)
    with receiver:
        await _in_a_thread(receiver.write, _blocks(request))
        received = await run_in_threadpool(receiver.finish, _joined(content_digest))
        upload, is_new = await run_in_threadpool(keep, system, tenant, received, media_type)
    response.status_code = 201 if is_new else 200
    return _view(upload)


async def _in_a_thread(take: Callable[[bytes], None], blocks: AsyncIterator[bytes]) -> None:
    """Hand over each block in a thread while the next one comes in; when this ends, no thread is at it any more."""
    taken: asyncio.Future[None] | None = None
    try:
        async for block in blocks:
            if taken is not None:
                await taken
            taken = asyncio.ensure_future(run_in_threadpool(take, block))
    finally:
        if taken is not None:
            await taken


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """Give the body in blocks of about a MiB."""
    parts, size = [], 0
    async for chunk in request.stream():
        parts.append(chunk)
        size += len(chunk)
        if size >= _BLOCK_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def _joined(lines: list[str] | None) -> str:
    """Give a header that may come in several lines as the one line it means."""
    return ", ".join(lines or [])


@router.get("/sha256:{sha256}", responses=_FOUND)
@router.head("/sha256:{sha256}", responses=_FOUND, name="has_upload")
def find_upload(
    sha256: Annotated[str, Path(description="64 hexadecimal digits.")],
    response: Response,
    system: TheSystem,
    tenant: Tenant,
    content_type: Annotated[str | None, Query(description="Only an upload of this Content-Type.")] = None,
) -> dict[str, Any]:
    """Give the upload that holds these bytes, the last that was sent; HEAD asks whether they must be sent at all."""
    with system.database.reading() as session:
        upload = repository.upload_with(session, tenant, sha256.lower(), content_type)
    if upload is None:
        raise NotFound("no upload holds the bytes of this sha256")
    response.headers.update(_held_headers(upload))
    return _view(upload)


def _held_headers(upload: Upload) -> dict[str, str]:
    return {
        "ETag": f'"sha256-{upload.sha256}"',
        "Content-Location": f"{router.prefix}/{upload.id}",
        "Upload-Size-Bytes": str(upload.size_bytes),
        "Upload-Content-Type": upload.content_type,
    }


@router.get("/{upload_id}")
def get_upload(upload_id: str, system: TheSystem, tenant: Tenant) -> dict[str, Any]:
    """Give what is known of an upload."""
    with system.database.reading() as session:
        upload = repository.upload_of(session, tenant, upload_id)
    if upload is None:
        raise NotFound(f"there is no upload '{upload_id[:64]}'")
    return _view(upload)


def _checked_media_type(content_type: str | None, url: str) -> str:
    media_type = (content_type or "").split(";")[0].strip().lower()
    if media_type not in UPLOAD_CONTENT_TYPES:
        known = ", ".join(UPLOAD_CONTENT_TYPES)
        raise UnsupportedMedia(f"Content-Type must be one of {known}; for example: {_CURL.format(url=url)}")
    return media_type


def _view(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "sha256": upload.sha256,
        "size_bytes": upload.size_bytes,
        "content_type": upload.content_type,
    }
