"""Taking a job: which queue, and the same job for the same Idempotency-Key."""

import hashlib
import json
from dataclasses import asdict
from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import NotFound, Unprocessable
from service.jobs import lifecycle, quotas, repository, waiting
from service.jobs.dispatch import Dispatcher
from service.jobs.models import IdempotencyKey, Job
from service.jobs.values import JobRequest
from service.logging import log
from service.resources import Resources

KEY_LIFETIME = timedelta(hours=24)


def resolve_device(resources: Resources, asked: str) -> str:
    """Give cpu or cuda: `auto` is cuda where a GPU worker was seen lately."""
    if asked != "auto":
        return asked
    with resources.database.reading() as session:
        return "cuda" if waiting.gpu_worker_seen(session, resources.settings.worker_seen_seconds) else "cpu"


def submit(resources: Resources, dispatcher: Dispatcher, tenant: str, request: JobRequest, key: str | None) -> Job:
    """Write the job, or give the one that this key made of the same request before."""
    payload = _digest(request)
    try:
        with resources.database.transaction() as session:
            held = _job_of_key(session, tenant, key, payload)
            return held or _new_job(session, resources, dispatcher, tenant, request, key, payload)
    except IntegrityError:  # another request with this key was first, or the problem is gone
        with resources.database.transaction() as session:
            held = _job_of_key(session, tenant, key, payload)
        if held is None:  # not the key, then: the problem was deleted at the same moment
            raise NotFound(f"there is no problem '{request.problem_id}'") from None
        return held


def _new_job(
    session: Session,
    resources: Resources,
    dispatcher: Dispatcher,
    tenant: str,
    request: JobRequest,
    key: str | None,
    payload: str,
) -> Job:
    quotas.check_submission(session, resources.settings, tenant)
    job = lifecycle.submit(session, tenant, request, dispatcher)
    waiting.review_new(session, job, resources.settings.worker_seen_seconds)
    if key is not None:
        repository.add(session, IdempotencyKey(tenant=tenant, key=key, payload_sha256=payload, job_id=job.id))
    return job


def _job_of_key(session: Session, tenant: str, key: str | None, payload: str) -> Job | None:
    if key is None:
        return None
    repository.forget_old_key(session, tenant, key, KEY_LIFETIME.total_seconds())
    held = repository.job_of_key(session, tenant, key)
    if held is None:
        return None
    if held.payload_sha256 != payload:
        raise Unprocessable(
            f"Idempotency-Key '{key}' was used for another request; use a new key for a new job",
            code="idempotency_key_reused",
        )
    log.info("job_submitted_again", job_id=held.job_id, tenant=tenant)
    return repository.job_by_id(session, held.job_id)


def _digest(request: JobRequest) -> str:
    """Give the digest of what the client said; refuses a character that PostgreSQL cannot keep."""
    said = asdict(request) | {"device": request.asked_device or request.device}
    text = json.dumps(said, sort_keys=True)
    if "\\u0000" in text:
        raise Unprocessable("a text of the request holds the character NUL; leave it out")
    return hashlib.sha256(text.encode()).hexdigest()
