"""Jobs: submit, look, list, cancel."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from service.api.bodies import JobBody
from service.api.dependencies import NEEDS_ROOM, JobId, Tenant, TheJob, TheSystem, lists_of, reader_of
from service.api.pagination import Cursor, Limit, bad_cursor, decode, json_page
from service.api.preconditions import is_known
from service.api.responses import Json
from service.api.sound_json import SoundJsonRoute
from service.jobs import lifecycle, submission
from service.jobs.models import Job
from service.jobs.states import Status
from service.jobs.values import JobRequest
from service.jobs.views import job_view

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=SoundJsonRoute)
LONGEST_WAIT = 25
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for a change.")]


@router.post("", status_code=202, dependencies=[NEEDS_ROOM])
async def create_job(
    body: JobBody,
    request: Request,
    response: Response,
    system: TheSystem,
    tenant: Tenant,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
    prefer: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """Take a job; it runs as soon as a worker is free."""
    device = await run_in_threadpool(submission.resolve_device, system, body.device)
    job = await run_in_threadpool(
        submission.submit, system, system.dispatcher, tenant, _request(body, device), idempotency_key
    )
    wait = _preferred_wait(prefer)
    if wait:
        job = await reader_of(request).job_once(tenant, job.id, lambda found: found.has_ended, wait)
        response.status_code = 200 if job.has_ended else 202
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = "2"
    return job_view(job)


@router.get(
    "/{job_id}",
    responses={304: {"description": "Nothing new since If-None-Match."}},
    response_model=dict[str, Any],
)
async def get_job(
    request: Request,
    tenant: Tenant,
    job_id: JobId,
    wait: Wait = 0,
    after_version: Annotated[int | None, Query(description="Wait for a newer version than this.")] = None,
) -> Response:
    """Give a job as it is; with `wait`, once it has ended or (with `after_version`) changed."""

    def is_news(job: Job) -> bool:
        return job.has_ended or (after_version is not None and job.version > after_version)

    job = await reader_of(request).job_once(tenant, job_id, is_news, wait)
    etag = f'"{job.version}"'
    if is_known(request, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return Json(job_view(job), headers={"ETag": etag})


@router.get("", response_model=dict[str, Any])
def list_jobs(
    request: Request,
    tenant: Tenant,
    status: Annotated[Status | None, Query(description="Only jobs in this state.")] = None,
    kind: Annotated[str | None, Query(max_length=64, description="Only jobs of this kind.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Give jobs, newest first."""
    asked = {"status": status.value if status else None, "kind": kind}
    filters = {name: value for name, value in asked.items() if value is not None}
    listed = lists_of(request).page(tenant, filters=filters, before=_place(cursor) if cursor else None, limit=limit)
    return json_page(listed.texts, listed.more_after)


@router.post("/{job_id}/cancel", status_code=202, responses={200: {"description": "It was cancelled before."}})
def cancel_job(response: Response, system: TheSystem, tenant: Tenant, before: TheJob) -> dict[str, Any]:
    """Cancel a job: a pending one at once, a running one as soon as its engine has stopped."""
    with system.database.transaction() as session:
        job = lifecycle.cancel(session, tenant, before.id)
    response.status_code = 200 if before.status == Status.CANCELLED else 202
    return job_view(job)


def _request(body: Any, device: str) -> JobRequest:
    return JobRequest(
        kind=body.kind,
        problem_id=body.problem_id,
        hyperparameters=body.hyperparameters.model_dump(mode="json"),
        seed=body.seed,
        device=device,
        asked_device=body.device,
        log_every=body.log_every,
        checkpoint_every=body.checkpoint_every,
        deadline_seconds=body.deadline_seconds,
        max_attempts=body.max_attempts,
        tags=body.tags,
    )


def _preferred_wait(prefer: str | None) -> float:
    """Give the seconds of `Prefer: wait=N`, at most 25; 0 where there is none.

    >>> _preferred_wait("respond-async, wait=7")
    7.0
    """
    for preference in (prefer or "").split(","):
        name, _, value = preference.strip().partition("=")
        if name.lower() == "wait" and value.isdecimal():
            return min(float(value), LONGEST_WAIT)
    return 0.0


def _place(cursor: str) -> str:
    place = decode(cursor)
    if not isinstance(place, str):
        raise bad_cursor()
    return place
