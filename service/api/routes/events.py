"""What happened to a job: as pages, or as a stream of server-sent events over the same rows."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic_core import to_jsonable_python
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from service.api.dependencies import Tenant, TheJob, TheSystem, find_job
from service.api.pagination import LARGEST_INTEGER, Limit
from service.api.routes.jobs import Wait
from service.jobs import traces
from service.jobs.models import Event
from service.jobs.states import TERMINAL, Status
from service.system import System

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_POLL_SECONDS = 0.25
_KEEP_ALIVE_SECONDS = 15.0
_STREAM = "text/event-stream"


@router.get("/{job_id}/events", response_model=dict[str, Any], responses={200: {"content": {_STREAM: {}}}})
async def get_events(
    request: Request,
    system: TheSystem,
    tenant: Tenant,
    job: TheJob,
    after: Annotated[int, Query(ge=0, le=LARGEST_INTEGER, description="Only events numbered above this.")] = 0,
    limit: Limit = 100,
    wait: Wait = 0,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}$")] = None,
) -> dict[str, Any] | Response:
    """Give events numbered above `after`; `Accept: text/event-stream` streams them until the job has ended."""
    if _STREAM in request.headers.get("accept", ""):
        start = int(last_event_id) if last_event_id else after
        return StreamingResponse(_stream(system, tenant, job.id, start), media_type=_STREAM, headers=_NO_BUFFERING)
    rows = await _rows(system, tenant, job.id, after, limit + 1, wait)
    data = [_view(event) for event in rows[:limit]]
    return {"data": data, "next_cursor": data[-1]["seq"] if data else after, "has_more": len(rows) > limit}


_NO_BUFFERING = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def _rows(system: System, tenant: str, job_id: str, after: int, limit: int, wait: float) -> list[Event]:
    end = asyncio.get_running_loop().time() + wait
    while True:
        job = await run_in_threadpool(find_job, system, tenant, job_id)  # first: an end comes with its last event
        rows = await run_in_threadpool(_read, system, job_id, after, limit)
        if rows or Status(job.status) in TERMINAL or asyncio.get_running_loop().time() >= end:
            return rows
        await asyncio.sleep(_POLL_SECONDS)


def _read(system: System, job_id: str, after: int, limit: int) -> list[Event]:
    with system.database.reading() as session:
        return traces.events_after(session, job_id, after, limit)


async def _stream(system: System, tenant: str, job_id: str, after: int) -> AsyncIterator[str]:
    """Yield every event above `after`, a comment now and then, and `event: end` when the job has ended."""
    quiet = 0.0
    while True:
        job = await run_in_threadpool(find_job, system, tenant, job_id)
        rows = await run_in_threadpool(_read, system, job_id, after, 500)
        for event in rows:
            yield _message(event.type, _view(event), event.seq)
            after = event.seq
        if not rows and Status(job.status) in TERMINAL:
            yield _message("end", {"status": job.status}, after)
            return
        quiet = 0.0 if rows else quiet + _POLL_SECONDS
        if quiet >= _KEEP_ALIVE_SECONDS:
            yield ": keep-alive\n\n"
            quiet = 0.0
        await asyncio.sleep(_POLL_SECONDS)


def _message(kind: str, data: dict[str, Any], number: int) -> str:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(to_jsonable_python(data))}\n\n"


def _view(event: Event) -> dict[str, Any]:
    return {**event.data, "seq": event.seq, "at": event.at, "type": event.type, "message": event.message}
