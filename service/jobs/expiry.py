"""The end of what a job has left: first nobody is given it any more, then it goes, a part at a time.

The job itself stays: its row with summary or error, and its events.
"""

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from service.jobs import repository, traces
from service.jobs.values import EventNote

LATE_READERS_SECONDS = 60.0  # a request that found the results still there is answered in full
_ROWS_A_PART = 20_000  # deleted in well under a second: who waits to write waits no longer


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """A part of what an expired job had is off the lists: how many rows, and the storage keys to delete now."""

    job_id: str
    rows: int = 0
    storage_keys: list[str] = field(default_factory=list)


def expire(session: Session, kept_seconds: float, limit: int) -> list[str]:
    """Let the results of jobs that ended so long ago be gone for every client; gives the jobs' ids."""
    expired = repository.expire_jobs(session, kept_seconds, limit)
    for job_id in expired:
        text = f"its results were kept for {kept_seconds / 86400:g} days and are gone now"
        traces.add_event(session, job_id, EventNote(type="expired", message=text))
    return expired


def clear(session: Session, expired_seconds: float = LATE_READERS_SECONDS) -> Cleared | None:
    """Take a part of an expired job's results off the lists, its files last; None where no job has any."""
    job = repository.job_to_clear(session, expired_seconds)
    if job is None:
        return None
    rows = traces.drop_rows(session, job.id, _ROWS_A_PART)
    if rows:
        return Cleared(job_id=job.id, rows=rows)
    repository.mark_cleared(session, job.id)
    return Cleared(job_id=job.id, storage_keys=traces.drop_files(session, job.id))
