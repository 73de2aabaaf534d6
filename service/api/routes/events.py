"""What happened to a job: as pages, or as a stream of server-sent events over the same rows."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic_core import to_jsonable_python
from starlette.responses import StreamingResponse

from service.api.dependencies import Tenant, TheJob, reader_of
from service.api.pagination import LARGEST_INTEGER, Limit
from service.api.reading import JobReader
from service.api.responses import Json
from service.api.routes.jobs import Wait
from service.db.session import UNAVAILABLE
from service.errors import NotFound
from service.jobs.models import Event, Job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_KEEP_ALIVE_SECONDS = 15.0
_AGAIN_SECONDS = 1.0
_EVENTS_A_READ = 500
_STREAM = "text/event-stream"
_NO_BUFFERING = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_KEEP_ALIVE = ": keep-alive\n\n"


@router.get("/{job_id}/events", response_model=dict[str, Any], responses={200: {"content": {_STREAM: {}}}})
async def get_events(
    request: Request,
    tenant: Tenant,
    job: TheJob,
    after: Annotated[int, Query(ge=0, le=LARGEST_INTEGER, description="Only events numbered above this.")] = 0,
    limit: Limit = 100,
    wait: Wait = 0,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}$")] = None,
) -> Response:
    """Give events numbered above `after`; `Accept: text/event-stream` streams them until the job has ended."""
    reader = reader_of(request)
    if _STREAM in request.headers.get("accept", ""):
        start = int(last_event_id) if last_event_id else after
        return StreamingResponse(_stream(reader, tenant, job, start), media_type=_STREAM, headers=_NO_BUFFERING)
    rows = await _rows(reader, tenant, job, after, limit + 1, wait)
    data = [_view(event) for event in rows[:limit]]
    return Json({"data": data, "next_cursor": data[-1]["seq"] if data else after, "has_more": len(rows) > limit})


async def _rows(reader: JobReader, tenant: str, job: Job, after: int, limit: int, wait: float) -> list[Event]:
    """Give events once there are some, the job has ended or the time is over."""
    end = time.monotonic() + wait
    while True:  # the job is read before its events: an end comes with its last event
        rows = await reader.events(job, after, limit)
        left = end - time.monotonic()
        if rows or left <= 0 or job.has_ended:
            return rows
        await reader.news(job, left)
        job = await reader.job(tenant, job.id)


async def _stream(reader: JobReader, tenant: str, job: Job, after: int) -> AsyncIterator[str]:
    """Yield every event above `after`, a comment now and then, and `event: end` when the job has ended.

    A database that is away ends nothing: the stream goes on where it was. A job that is deleted ends it without a word.
    """
    while True:
        try:
            rows = await reader.events(job, after, _EVENTS_A_READ)
            for event in rows:
                yield _message(event.type, _view(event), event.seq)
                after = event.seq
            if len(rows) < _EVENTS_A_READ:
                if job.has_ended:
                    yield _message("end", {"status": job.status}, after)
                    return
                while not await reader.news(job, _KEEP_ALIVE_SECONDS):
                    yield _KEEP_ALIVE
            job = await reader.job(tenant, job.id)
        except UNAVAILABLE:
            yield _KEEP_ALIVE
            await asyncio.sleep(_AGAIN_SECONDS)
        except NotFound:
            return


def _message(kind: str, data: dict[str, Any], number: int) -> str:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(to_jsonable_python(data))}\n\n"


def _view(event: Event) -> dict[str, Any]:
    return {**event.data, "seq": event.seq, "at": event.at, "type": event.type, "message": event.message}
