"""Deleting a job and all it has left: first it is nobody's, then it goes, a part at a time.

Whoever dies on the way leaves a job of no tenant, which the next sweep of any worker removes.
"""

from collections.abc import Callable

from sqlalchemy.orm import Session

from service.errors import Conflict, NotFound
from service.jobs import outbox, repository, traces
from service.logging import log
from service.resources import Resources
from service.storage.forgetting import forget

NOBODY = ""  # as a tenant, which no client can be
_ROWS_A_PART = 20_000  # deleted in well under a second: who waits to write waits no longer
_JOBS_A_ROUND = 100


def delete(resources: Resources, tenant: str, job_id: str) -> None:
    """Remove an ended job with its curves, events, targets, files and keys; Conflict where it has not ended."""
    with resources.database.transaction() as session:
        job = repository.job_of(session, tenant, job_id, lock=True)
        if job is None:
            raise NotFound(f"there is no job '{job_id}'")
        if not job.has_ended:
            raise Conflict(f"job '{job_id}' is {job.status}; cancel it first", code="job_not_ended")
        repository.give_to(session, job_id, NOBODY)
        outbox.forget_webhook(session, job_id)
    log.info("job_deleted", job_id=job_id, tenant=tenant)
    _remove(resources, job_id)


def finish(resources: Resources, should_stop: Callable[[], bool]) -> None:
    """Remove what others began to delete and did not end, a bounded part of it."""
    with resources.database.reading() as session:
        left = repository.ids_of(session, NOBODY, _JOBS_A_ROUND)
    for job_id in left:
        if should_stop():
            return
        _remove(resources, job_id)


def _remove(resources: Resources, job_id: str) -> None:
    while _some_rows(resources, job_id):
        pass
    with resources.database.transaction() as session:
        keys = _last_rows(session, job_id)
    for key in keys:
        forget(resources.store, key)


def _some_rows(resources: Resources, job_id: str) -> int:
    with resources.database.transaction() as session:
        return traces.drop_rows(session, job_id, _ROWS_A_PART)


def _last_rows(session: Session, job_id: str) -> list[str]:
    """Take the job itself off the list, with what is few; gives the storage keys to delete."""
    keys = traces.drop_files(session, job_id)
    traces.drop_events(session, job_id)
    repository.drop_job(session, job_id)
    return keys
