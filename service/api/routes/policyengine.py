"""What PolicyEngine's present clients ask: a job as submitted, running, complete or failed."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from service.api.dependencies import TheJob
from service.jobs.models import Job
from service.jobs.states import Status
from service.jobs.views import job_view

router = APIRouter(prefix="/jobs", tags=["policyengine"])
_WORDS = {
    Status.PENDING: "submitted",
    Status.RUNNING: "running",
    Status.SUCCEEDED: "complete",
    Status.FAILED: "failed",
    Status.CANCELLED: "failed",
}


@router.get("/{job_id}", response_model=None, responses={202: {"description": "It has not ended."}})
def get_status(job: TheJob) -> JSONResponse:
    """Give status, result and error of a job in the words that PolicyEngine's clients know: 202 until it has ended."""
    body = {"status": _WORDS[Status(job.status)], "result": _result(job), "error": _error(job)}
    return JSONResponse(body, 200 if job.has_ended else 202)


def _result(job: Job) -> dict[str, Any] | None:
    if job.status != Status.SUCCEEDED:
        return None
    return {"job_id": job.id, "summary": job.summary, "links": job_view(job)["links"]}


def _error(job: Job) -> str | None:
    if job.status == Status.CANCELLED:
        return "the job was cancelled"
    return None if job.error is None else str(job.error["detail"])
