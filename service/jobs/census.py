"""SQL that counts: how many jobs, leases and workers there are, for those who watch the service.

What indexes answer (`count_now`) is cheap at any size of the table. `count_totals` reads every row of `jobs`, about
3 ms a thousand: who asks often keeps its answer for a while.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Float, case, func, select, type_coerce
from sqlalchemy.orm import Session

from service.db.base import database_now
from service.jobs import outbox
from service.jobs.models import Job
from service.jobs.states import Status
from service.jobs.workers import workers_seen


@dataclass(frozen=True, kw_only=True)
class Census:
    """How things stand: jobs by (status, queue), the age of the oldest pending one by queue, leases, living workers.

    A worker counts once for each queue it serves, under (queue, type of its device).
    """

    jobs: Mapping[tuple[str, str], int]
    oldest_pending_seconds: Mapping[str, float]
    leases_held: int
    leases_expired: int
    workers: Mapping[tuple[str, str], int]

    def jobs_without_worker(self, queue: str) -> int:
        """Give how many pending jobs of a queue wait for a worker that is not there."""
        is_served = any(served == queue for served, _ in self.workers)
        return 0 if is_served else self.jobs.get((Status.PENDING.value, queue), 0)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What all jobs that are listed, and the messages to their webhooks, add up to."""

    failures: Mapping[str, int]
    attempts: int
    epochs: int
    webhooks: Mapping[str, int] = field(default_factory=dict)


def count_now(session: Session, worker_seen_seconds: float) -> Census:
    """Count what stands now."""
    held, expired = _leases(session)
    return Census(
        jobs=_jobs(session),
        oldest_pending_seconds=_oldest_pending(session),
        leases_held=held,
        leases_expired=expired,
        workers=_workers(session, worker_seen_seconds),
    )


def count_totals(session: Session) -> Totals:
    """Add up all jobs; a job's epochs are the ones it has reported last."""
    code = func.coalesce(Job.error["code"].as_string(), "unknown")
    failed = select(code, func.count()).where(Job.status == Status.FAILED.value).group_by(code)
    sums = select(func.sum(Job.attempt), func.sum(Job.progress["epoch"].as_integer()))
    attempts, epochs = session.execute(sums).one()
    failures = {str(name): int(number) for name, number in session.execute(failed)}
    return Totals(
        failures=failures,
        attempts=int(attempts or 0),
        epochs=int(epochs or 0),
        webhooks=outbox.counts(session),
    )


def _jobs(session: Session) -> dict[tuple[str, str], int]:
    query = select(Job.status, Job.queue, func.count()).group_by(Job.status, Job.queue)
    return {(status, queue): number for status, queue, number in session.execute(query)}


def _oldest_pending(session: Session) -> dict[str, float]:
    age = database_now() - type_coerce(func.min(Job.created_at), Float)
    query = select(Job.queue, age).where(Job.status == Status.PENDING.value).group_by(Job.queue)
    return {queue: max(0.0, float(seconds)) for queue, seconds in session.execute(query)}


def _leases(session: Session) -> tuple[int, int]:
    over = func.coalesce(Job.lease_expires_at, 0.0, type_=Float) < database_now()
    query = select(func.count(), func.sum(case((over, 1), else_=0))).where(Job.status == Status.RUNNING.value)
    running, expired = session.execute(query).one()
    return running - int(expired or 0), int(expired or 0)


def _workers(session: Session, seen_seconds: float) -> Counter[tuple[str, str]]:
    seen = workers_seen(session, seen_seconds)
    return Counter((queue, worker.device.partition(":")[0]) for worker in seen for queue in worker.queues)
