"""What is done to a job that is there: cancel, retry, delete."""

from typing import Any

from fastapi import APIRouter, Response

from service.api.dependencies import NEEDS_ROOM, JobId, Tenant, TheJob, TheSystem
from service.api.routes.jobs import IdempotencyKey, where_to_look
from service.jobs import deletion, lifecycle, retrying
from service.jobs.states import Status
from service.jobs.views import job_view

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post("/{job_id}/cancel", status_code=202, responses={200: {"description": "It was cancelled before."}})
def cancel_job(response: Response, system: TheSystem, tenant: Tenant, before: TheJob) -> dict[str, Any]:
    """Cancel a job: a pending one at once, a running one as soon as its engine has stopped."""
    with system.database.transaction() as session:
        job = lifecycle.cancel(session, tenant, before.id)
    response.status_code = 200 if before.status == Status.CANCELLED else 202
    return job_view(job)


@router.post("/{job_id}/retry", status_code=201, dependencies=[NEEDS_ROOM])
def retry_job(
    response: Response, system: TheSystem, tenant: Tenant, job_id: JobId, idempotency_key: IdempotencyKey = None
) -> dict[str, Any]:
    """Submit the request of an ended job once more, as a new job with `retry_of`."""
    job = retrying.retry(system, system.dispatcher, tenant, job_id, idempotency_key)
    response.headers.update(where_to_look(job))
    return job_view(job)


@router.delete("/{job_id}", status_code=204)
def delete_job(system: TheSystem, tenant: Tenant, job_id: JobId) -> None:
    """Delete an ended job and all it has left: curves, events, results and files."""
    deletion.delete(system, tenant, job_id)
