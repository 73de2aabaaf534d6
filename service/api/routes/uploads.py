"""Bytes in: streamed to disk and hashed while they arrive."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from starlette.concurrency import run_in_threadpool

from service.api.dependencies import NEEDS_ROOM, Tenant, TheSystem
from service.errors import NotFound, UnsupportedMedia
from service.problems import repository
from service.problems.content_types import UPLOAD_CONTENT_TYPES
from service.problems.models import Upload
from service.problems.uploads import Receiver, keep

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_CURL = "curl -H 'Content-Type: application/x-npz' --data-binary @M.npz {url}"


@router.post(
    "",
    status_code=201,
    responses={200: {"description": "These bytes are held already."}},
    dependencies=[NEEDS_ROOM],
    openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(UPLOAD_CONTENT_TYPES, _BYTES)}},
)
async def create_upload(
    request: Request,
    response: Response,
    system: TheSystem,
    tenant: Tenant,
    content_type: Annotated[str | None, Header()] = None,
    content_encoding: Annotated[str | None, Header()] = None,
    content_digest: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """Take the raw body as one upload."""
    media_type = _checked_media_type(content_type, content_encoding, str(request.url))
    receiver = await run_in_threadpool(Receiver, system.store, system.settings.max_upload_bytes)
    with receiver:
        async for chunk in request.stream():
            await run_in_threadpool(receiver.write, chunk)
        received = await run_in_threadpool(receiver.finish, content_digest)
        upload, is_new = await run_in_threadpool(keep, system, tenant, received, media_type)
    response.status_code = 201 if is_new else 200
    return _view(upload)


@router.get("/{upload_id}")
def get_upload(upload_id: str, system: TheSystem, tenant: Tenant) -> dict[str, Any]:
    """Give what is known of an upload."""
    with system.database.reading() as session:
        upload = repository.upload_of(session, tenant, upload_id)
    if upload is None:
        raise NotFound(f"there is no upload '{upload_id[:64]}'")
    return _view(upload)


def _checked_media_type(content_type: str | None, content_encoding: str | None, url: str) -> str:
    media_type = (content_type or "").split(";")[0].strip().lower()
    if media_type not in UPLOAD_CONTENT_TYPES:
        known = ", ".join(UPLOAD_CONTENT_TYPES)
        raise UnsupportedMedia(f"Content-Type must be one of {known}; for example: {_CURL.format(url=url)}")
    if content_encoding not in (None, "", "identity"):
        raise UnsupportedMedia("Content-Encoding is not taken; send the bytes as they are")
    return media_type


def _view(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "sha256": upload.sha256,
        "size_bytes": upload.size_bytes,
        "content_type": upload.content_type,
    }
