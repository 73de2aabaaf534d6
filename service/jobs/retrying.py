"""The request of an ended job, submitted once more."""

from service.errors import Conflict, NotFound
from service.jobs import repository, submission, traces
from service.jobs.dispatch import Dispatcher
from service.jobs.models import Job
from service.jobs.values import JobRequest, ResumeFrom
from service.resources import Resources


def retry(resources: Resources, dispatcher: Dispatcher, tenant: str, job_id: str, key: str | None) -> Job:
    """Write a new job like this one; Conflict where that has not ended."""
    with resources.database.reading() as session:
        job = repository.job_of(session, tenant, job_id)
        origin = None if job is None else traces.origin(session, job.id)
    if job is None:
        raise NotFound(f"there is no job '{job_id}'")
    if not job.has_ended:
        raise Conflict(f"job '{job_id}' is {job.status}; it may still succeed: cancel it first", code="job_not_ended")
    if job.resumed_from is not None and origin is None:
        text = f"job '{job_id}' went on from a checkpoint that is past its time; submit a new job without it"
        raise Conflict(text, code="result_not_ready")
    begins_with = None if origin is None else ResumeFrom(job_id=job.id, checkpoint=origin.id)
    return submission.submit(resources, dispatcher, tenant, _request_of(job, begins_with), key)


def _request_of(job: Job, resume_from: ResumeFrom | None) -> JobRequest:
    return JobRequest(
        kind=job.kind,
        problem_id=job.problem_id,
        hyperparameters=job.hyperparameters,
        seed=job.seed,
        device=job.device,
        log_every=job.log_every,
        checkpoint_every=job.checkpoint_every,
        deadline_seconds=job.deadline_seconds,
        max_attempts=job.max_attempts,
        tags=job.tags,
        webhook_url=job.webhook_url,
        resume_from=resume_from,
        retry_of=job.id,
    )
