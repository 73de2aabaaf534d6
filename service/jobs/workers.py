"""SQL on workers: which processes were seen, and when."""

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.db.base import database_now
from service.jobs.models import Worker
from service.jobs.values import WorkerIdentity


def see_worker(session: Session, worker: WorkerIdentity) -> None:
    """Note that a worker is alive."""
    row = session.get(Worker, worker.id)
    if row is None:
        session.add(
            Worker(
                id=worker.id,
                host=worker.host,
                queues=list(worker.queues),
                device=worker.device,
                kinds=worker.kinds,
                versions=worker.versions,
            )
        )
    else:
        session.execute(
            update(Worker)
            .where(Worker.id == worker.id)
            .values(seen_at=database_now())
            .execution_options(synchronize_session=False)
        )
    session.flush()


def forget_worker(session: Session, worker_id: str) -> None:
    """Remove a worker that ended on purpose."""
    row = session.get(Worker, worker_id)
    if row is not None:
        session.delete(row)
        session.flush()


def forget_lost_workers(session: Session, unseen_seconds: float) -> int:
    """Remove workers that died long ago without a word; gives how many."""
    lost = delete(Worker).where(Worker.seen_at < database_now() - unseen_seconds)
    return session.connection().execute(lost).rowcount


def is_eldest(session: Session, worker_id: str, within_seconds: float) -> bool:
    """Say whether no worker seen lately is older than this one: what one alone shall do is then for it to do."""
    seen = [worker.id for worker in workers_seen(session, within_seconds)]
    return worker_id == min(seen, default=worker_id)


def workers_seen(session: Session, within_seconds: float) -> list[Worker]:
    """Give the workers seen lately."""
    return list(session.scalars(select(Worker).where(Worker.seen_at > database_now() - within_seconds)))
