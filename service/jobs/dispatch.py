"""Waking a worker: send a job's id once the transaction that made it ready is committed, and note that it was sent."""

from functools import partial

from sqlalchemy.orm import Session

from service.db.session import Database, after_commit
from service.jobs import repository
from service.jobs.models import Job
from service.jobs.queue import JobQueue


class Dispatcher:
    """The database's notes and the broker's messages, in the right order."""

    def __init__(self, database: Database, queue: JobQueue) -> None:
        self._database, self._queue = database, queue

    def after_commit(self, session: Session, job: Job) -> None:
        """Arrange that `job` is sent as soon as `session` has committed."""
        after_commit(session, partial(self._send, job.id, job.queue))

    def holds_fewer(self, queue: str, jobs: int) -> bool:
        """Say whether the broker holds fewer ids than `jobs`, so that some are lost; False while it is away."""
        waiting = self._queue.waiting(queue)
        return waiting is not None and waiting < jobs

    def _send(self, job_id: str, queue: str) -> None:
        if not self._queue.publish(job_id, queue):
            return
        with self._database.transaction() as session:
            repository.mark_published(session, job_id)
