"""SQL on what a tenant uses: bytes kept, jobs that wait or run; and how many jobs wait in all."""

from sqlalchemy import Select, func, literal, select
from sqlalchemy.orm import Session

from service.jobs.models import Job, StoredArtifact, StoredCheckpoint
from service.jobs.states import Status
from service.problems.models import StoredProblem, Upload

_ACTIVE = (Status.PENDING.value, Status.RUNNING.value)


def stored_bytes(session: Session, tenant: str) -> int:
    """Give the bytes of a tenant's uploads, problems, artifacts and checkpoints; reads all their rows."""
    kept = [select(func.sum(table.size_bytes)).where(table.tenant == tenant) for table in (Upload, StoredProblem)]
    left = [_sum_of_jobs(table, tenant) for table in (StoredArtifact, StoredCheckpoint)]
    return sum(int(session.scalar(query) or 0) for query in (*kept, *left))


def _sum_of_jobs(table: type[StoredArtifact | StoredCheckpoint], tenant: str) -> Select[int]:
    return select(func.sum(table.size_bytes)).join(Job, Job.id == table.job_id).where(Job.tenant == tenant)


def active_jobs(session: Session, tenant: str) -> int:
    """Give how many of a tenant's jobs wait or run."""
    query = select(func.count()).select_from(Job).where(Job.tenant == tenant, Job.status.in_(_ACTIVE))
    return session.scalar(query) or 0


def waiting_jobs(session: Session, most: int) -> int:
    """Give how many jobs are pending, whoever's they are; counts no further than to `most`."""
    pending = select(literal(1)).select_from(Job).where(Job.status == Status.PENDING.value).limit(most)
    return session.scalar(select(func.count()).select_from(pending.subquery())) or 0


def one_at_a_time(session: Session, tenant: str) -> None:
    """Let no other transaction of this tenant that asks the same go on before this one ends.

    SQLite lets one transaction write at a time anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"jobs of {tenant}", 0))))
