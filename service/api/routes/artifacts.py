"""The files of a result: listed, and served with ranges, a strong ETag and a digest."""

import base64
from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.dependencies import KeptJob, TheSystem
from service.api.preconditions import is_known
from service.api.ranges import asked_part, file_response
from service.errors import Conflict, NotFound
from service.jobs import traces
from service.jobs.models import StoredArtifact
from service.jobs.states import Status

router = APIRouter(prefix="/v1/jobs", tags=["results"])
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
)


@router.get("/{job_id}/artifacts")
def list_artifacts(system: TheSystem, job: KeptJob) -> dict[str, Any]:
    """Give name, size and digest of every artifact; none before the job has succeeded."""
    with system.database.reading() as session:
        return {"data": [_view(artifact) for artifact in traces.artifacts(session, job.id)]}


_BYTES: dict[str, Any] = {"*/*": {"schema": {}}}


@router.get(
    "/{job_id}/artifacts/{name}",
    response_class=Response,
    responses={
        200: {"content": _BYTES, "description": "The whole file."},
        206: {"content": _BYTES, "description": "The part that Range asks for."},
        304: {"description": "What If-None-Match names is the same still."},
    },
)
def get_artifact(request: Request, system: TheSystem, job: KeptJob, name: str) -> Response:
    """Give one artifact's bytes."""
    with system.database.reading() as session:
        artifact = traces.artifact(session, job.id, name)
    if artifact is None and job.status != Status.SUCCEEDED:
        raise Conflict(f"job '{job.id}' is {job.status}; it has no artifacts", code="result_not_ready")
    if artifact is None:
        raise NotFound(f"job '{job.id}' has no artifact of this name; GET its artifacts for the list")
    headers = _headers(artifact)
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    part = asked_part(request, headers["ETag"], artifact.size_bytes)
    file = system.store.open(artifact.storage_key)
    return file_response(file, part, artifact.size_bytes, media_type=artifact.content_type, headers=headers)


def _view(artifact: StoredArtifact) -> dict[str, Any]:
    return {
        "name": artifact.name,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "content_type": artifact.content_type,
    }


def _headers(artifact: StoredArtifact) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(artifact.sha256)).decode()
    headers = {"ETag": f'"sha256-{artifact.sha256}"', "Content-Digest": f"sha-256=:{digest}:"}
    if artifact.content_type.startswith("text/html"):
        headers["Content-Security-Policy"] = _REPORT_POLICY
    return headers
