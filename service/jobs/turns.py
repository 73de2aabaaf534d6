"""Whose job is next: tenants take turns, so that the hundred jobs of one are not all before the one of another.

The broker hands out ids in the order they were sent. A worker takes an id as leave to run one job of its route, and
asks here which: the oldest of the tenant who has the fewest running, and of those the one it has served longest ago.
A job whose id was used for another is run when that other's id comes. With one tenant the id that came is the job.
"""

from collections.abc import Mapping
from itertools import count

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from service.db.session import Database
from service.jobs import repository
from service.jobs.models import Job
from service.jobs.states import Status


class Turns:
    """What one worker remembers of whom it has served."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._served: dict[str, int] = {}
        self._numbers = count(1)

    def next(self, job_id: str) -> str:
        """Give the job to try to claim, on the word of this id."""
        with self._database.reading() as session:
            job = repository.job_by_id(session, job_id)
            if job is None or _is_let_go(job):
                return job_id
            line = _first_in_line(session, job)
            if set(line) <= {job.tenant}:
                return job_id
            running = _running(session, job)
        return self._chosen(job, {tenant: first for tenant, first in line.items() if first is not None}, running)

    def _chosen(self, job: Job, line: Mapping[str, str], running: Mapping[str, int]) -> str:
        if not line:
            return job.id

        def rank(tenant: str) -> tuple[int, int, bool]:
            return running.get(tenant, 0), self._served.get(tenant, 0), tenant != job.tenant

        tenant = min(line, key=rank)
        self._served[tenant] = next(self._numbers)
        return line[tenant]


def _is_let_go(job: Job) -> bool:
    """Tell whether a worker has begun it and lost it or given it back: it is not sent to the end of any line."""
    return job.status == Status.RUNNING.value and job.lease_token is None


def _first_in_line(session: Session, like: Job) -> dict[str, str | None]:
    """Give every tenant there is, with their oldest pending job of the same route: two looks at an index each."""
    tenants = select(func.min(Job.tenant).label("tenant")).cte("tenants", recursive=True)
    after = select(func.min(Job.tenant)).where(Job.tenant > tenants.c.tenant).scalar_subquery()
    tenants = tenants.union_all(select(after).where(tenants.c.tenant.is_not(None)))
    waiting = aliased(Job)
    same = (
        waiting.queue == like.queue,
        waiting.kind == like.kind,
        waiting.kind_version == like.kind_version,
    )
    pending = select(waiting.id).where(waiting.tenant == tenants.c.tenant, waiting.status == Status.PENDING.value)
    first = pending.where(*same).order_by(waiting.id).limit(1).scalar_subquery()
    rows = session.execute(select(tenants.c.tenant, first).where(tenants.c.tenant.is_not(None)))
    return {str(tenant): first_id for tenant, first_id in rows}


def _running(session: Session, like: Job) -> dict[str, int]:
    """Give how many jobs of the same queue each tenant has running."""
    where = (Job.status == Status.RUNNING.value, Job.queue == like.queue)
    rows = session.execute(select(Job.tenant, func.count()).where(*where).group_by(Job.tenant))
    return {str(tenant): number for tenant, number in rows}
