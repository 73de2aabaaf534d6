"""Jobs: submit, look, list; what else is done to one is next door, in `job_acts`."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AwareDatetime, BeforeValidator
from starlette.concurrency import run_in_threadpool

from service.api.bodies import JobBody
from service.api.dependencies import NEEDS_ROOM, JobId, Tenant, TheSystem, lists_of, reader_of
from service.api.pagination import Cursor, Limit, json_page, text_in
from service.api.preconditions import is_known
from service.api.responses import Json
from service.api.sound_json import SoundJsonRoute
from service.api.webhook_urls import check_webhook
from service.jobs import submission
from service.jobs.filters import JobFilter
from service.jobs.models import Job
from service.jobs.states import Status
from service.jobs.values import JobRequest, ResumeFrom
from service.jobs.views import job_view

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=SoundJsonRoute)
_TAG = "tag."
_BY_TAG = {
    "parameters": [
        {
            "name": "tags",
            "in": "query",
            "style": "form",
            "explode": True,
            "x-prefix": _TAG,
            "description": "`tag.NAME=VALUE`: only jobs with this tag; several must all be there.",
            "schema": {
                "type": "object",
                "patternProperties": {r"^tag\.": {"type": "string"}},
                "additionalProperties": False,
            },
        }
    ]
}
LONGEST_WAIT = 25
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="Yours, kept 24 hours: the same request again is the same job."),
]
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _rfc3339(value: str) -> str:
    """Give the text back where it is a moment of RFC 3339, of which a number of seconds is none."""
    if not _MOMENT.fullmatch(value):
        raise ValueError("give a moment as 2026-01-31T08:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for a change.")]


@router.post("", status_code=202, dependencies=[NEEDS_ROOM])
async def create_job(
    body: JobBody,
    request: Request,
    response: Response,
    system: TheSystem,
    tenant: Tenant,
    idempotency_key: IdempotencyKey = None,
    prefer: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """Take a job; it runs as soon as a worker is free."""
    await check_webhook(system.settings, body.webhook_url)
    device = await run_in_threadpool(submission.resolve_device, system, body.device)
    job = await run_in_threadpool(
        submission.submit, system, system.dispatcher, tenant, _request(body, device), idempotency_key
    )
    wait = _preferred_wait(prefer)
    if wait:
        job = await reader_of(request).job_once(tenant, job.id, lambda found: found.has_ended, wait)
        response.status_code = 200 if job.has_ended else 202
    response.headers.update(where_to_look(job))
    return job_view(job)


def where_to_look(job: Job) -> dict[str, str]:
    """Give the headers that tell where a new job is, and when to ask for it again."""
    return {"Location": f"/v1/jobs/{job.id}", "Retry-After": "2"}


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


@router.get("", response_model=dict[str, Any], openapi_extra=_BY_TAG)
def list_jobs(
    request: Request,
    tenant: Tenant,
    status: Annotated[Status | None, Query(description="Only jobs in this state.")] = None,
    kind: Annotated[str | None, Query(max_length=64, description="Only jobs of this kind.")] = None,
    created_after: Annotated[
        Moment | None, Query(description="Only jobs created later than this moment (RFC 3339).")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Give jobs, newest first."""
    tags = {
        name.removeprefix(_TAG): value for name, value in request.query_params.multi_items() if name.startswith(_TAG)
    }
    asked = JobFilter(status=status, kind=kind, created_after=created_after, tags=tags)
    listed = lists_of(request).page(tenant, asked=asked, before=text_in(cursor) if cursor else None, limit=limit)
    return json_page(listed.texts, listed.more_after)


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
        webhook_url=body.webhook_url,
        resume_from=None if body.resume_from is None else ResumeFrom(**body.resume_from.model_dump()),
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
