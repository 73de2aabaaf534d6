"""Two results side by side."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from service.api.dependencies import Tenant, TheSystem, kept, reader_of, succeeded
from service.jobs import comparison
from service.jobs.models import Job

router = APIRouter(prefix="/v1/compare", tags=["results"])
_Id = Annotated[str, Query(max_length=64, description="Id of a job that has succeeded.")]


@router.get("")
async def compare(
    request: Request,
    system: TheSystem,
    tenant: Tenant,
    a: _Id,
    b: _Id,
    limit: Annotated[int, Query(ge=0, le=1000, description="Most targets under `largest_changes`.")] = 20,
) -> dict[str, Any]:
    """Compare job b with job a on the targets that both have: improved, regressed, unchanged, the largest changes."""
    first, second = [succeeded(kept(await reader_of(request).job(tenant, job_id))) for job_id in (a, b)]
    found = await run_in_threadpool(_compared, system, first, second, limit)
    return {"a": _view(first), "b": _view(second), **found}


def _compared(system: TheSystem, a: Job, b: Job, limit: int) -> dict[str, Any]:
    with system.database.reading() as session:
        return asdict(comparison.compare(session, a, b, limit))


def _view(job: Job) -> dict[str, Any]:
    return {"job_id": job.id, "problem_id": job.problem_id, "summary": job.summary}
