"""What routes are handed: the system, the caller's tenant, their job."""

from typing import Annotated

from fastapi import Depends, Path, Request

from service.auth.guard import ANONYMOUS_TENANT
from service.errors import Conflict, NotFound
from service.jobs import repository
from service.jobs.models import Job
from service.jobs.states import Status
from service.system import System


def _system(request: Request) -> System:
    system: System = request.app.state.system
    return system


def _tenant() -> str:
    return ANONYMOUS_TENANT


TheSystem = Annotated[System, Depends(_system)]
Tenant = Annotated[str, Depends(_tenant)]
JobId = Annotated[str, Path(description="Id of a job.", max_length=64)]


def find_job(system: System, tenant: str, job_id: str) -> Job:
    """Give the caller's job, as it is now; NotFound where there is none."""
    with system.database.reading() as session:
        job = repository.job_of(session, tenant, job_id)
    if job is None:
        raise NotFound(f"there is no job '{job_id}'")
    return job


def _job(system: TheSystem, tenant: Tenant, job_id: JobId) -> Job:
    return find_job(system, tenant, job_id)


def _succeeded_job(system: TheSystem, tenant: Tenant, job_id: JobId) -> Job:
    job = find_job(system, tenant, job_id)
    if job.status != Status.SUCCEEDED:
        raise Conflict(
            f"job '{job_id}' is {job.status}; it has no result yet or will have none", code="result_not_ready"
        )
    return job


TheJob = Annotated[Job, Depends(_job)]
SucceededJob = Annotated[Job, Depends(_succeeded_job)]
