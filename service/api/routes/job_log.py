"""The log of a job as text, to read and to follow."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from service.api.dependencies import TheJob, TheSystem
from service.api.pagination import LARGEST_INTEGER
from service.jobs.log_lines import lines

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_NEXT = "L0-Next-Offset"


@router.get(
    "/{job_id}/log",
    response_class=Response,
    responses={
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "headers": {_NEXT: {"description": "The offset of what comes next.", "schema": {"type": "integer"}}},
        }
    },
)
def get_log(
    system: TheSystem,
    job: TheJob,
    offset: Annotated[int, Query(ge=0, le=LARGEST_INTEGER, description="Lines to leave out.")] = 0,
) -> Response:
    """Give what happened to a job as text, a line an event; ask again from `L0-Next-Offset` to follow it."""
    told = lines(system.database, job.id, offset, job.last_event)
    headers = {_NEXT: str(max(offset, job.last_event))}
    return StreamingResponse(told, media_type="text/plain; charset=utf-8", headers=headers)
