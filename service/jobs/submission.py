"""Taking a job: which queue, and the same job for the same Idempotency-Key."""

import hashlib
import json
from dataclasses import asdict
from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import NotFound, Unprocessable
from service.ids import new_id
from service.jobs import lifecycle, origins, quotas, repository, waiting
from service.jobs.dispatch import Dispatcher
from service.jobs.models import IdempotencyKey, Job
from service.jobs.values import JobRequest
from service.logging import log
from service.resources import Resources

KEY_LIFETIME = timedelta(hours=24)
_LATER = frozenset({"resume_from", "retry_of", "webhook_url"})


def resolve_device(resources: Resources, asked: str) -> str:
    """Give cpu or cuda: `auto` is cuda where a GPU worker was seen lately."""
    if asked != "auto":
        return asked
    with resources.database.reading() as session:
        return "cuda" if waiting.gpu_worker_seen(session, resources.settings.worker_seen_seconds) else "cpu"


def submit(resources: Resources, dispatcher: Dispatcher, tenant: str, request: JobRequest, key: str | None) -> Job:
    """Write the job, or give the one that this key made of the same request before."""
    payload = _digest(request)
    with resources.database.transaction() as session:
        held = _job_of_key(session, tenant, key, payload)
    if held is not None:
        return held
    try:
        return _written(resources, dispatcher, tenant, request, key, payload)
    except IntegrityError:  # another request with this key was first, or the problem is gone
        with resources.database.transaction() as session:
            held = _job_of_key(session, tenant, key, payload)
        if held is None:  # not the key, then: the problem was deleted at the same moment
            raise NotFound(f"there is no problem '{request.problem_id}'") from None
        return held


def _written(
    resources: Resources, dispatcher: Dispatcher, tenant: str, request: JobRequest, key: str | None, payload: str
) -> Job:
    job_id = new_id("job")
    with origins.copied(resources, tenant, request, job_id) as origin, resources.database.transaction() as session:
        quotas.check_submission(session, resources.settings, tenant)
        job = lifecycle.submit(session, tenant, request, dispatcher, job_id=job_id, origin=origin)
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
    """Give the digest of what the client said; refuses a character that PostgreSQL cannot keep.

    What a client of an earlier release could not say counts only where it was said: a key outlives an upgrade.
    """
    said = asdict(request) | {"device": request.asked_device or request.device}
    text = json.dumps({k: v for k, v in said.items() if v is not None or k not in _LATER}, sort_keys=True)
    if "\\u0000" in text:
        raise Unprocessable("a text of the request holds the character NUL; leave it out")
    return hashlib.sha256(text.encode()).hexdigest()
