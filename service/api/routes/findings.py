"""What is wrong or doubtful with a job and its problem."""

from typing import Any

from fastapi import APIRouter

from service.api.dependencies import TheJob, TheSystem
from service.jobs.findings import findings

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("/{job_id}/findings")
def get_findings(system: TheSystem, job: TheJob) -> dict[str, Any]:
    """Give the findings of the job's problem and those its run has made, as far as it has come."""
    with system.database.reading() as session:
        found = findings(session, job)
    return {"data": [finding.model_dump() for finding in found]}
