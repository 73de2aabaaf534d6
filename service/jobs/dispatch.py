"""Waking a worker: send a job's id once the transaction that made it ready is committed, and note that it was sent."""

from functools import partial

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from l0core.kind import versions_of
from l0core.kinds import KINDS
from service.db.session import Database, after_commit
from service.jobs import repository
from service.jobs.models import Job
from service.jobs.queue import JobQueue
from service.jobs.routing import QUEUES, route, routes
from service.logging import log


class Dispatcher:
    """The database's notes and the broker's messages, in the right order."""

    def __init__(self, database: Database, queue: JobQueue) -> None:
        self._database, self._queue = database, queue

    def after_commit(self, session: Session, job: Job) -> None:
        """Arrange that `job` is sent as soon as `session` has committed."""
        after_commit(session, partial(self._send, job.id, route(job.queue, job.kind, job.kind_version)))

    def waiting_ids(self) -> dict[str, int | None]:
        """Give how many ids the broker holds of each route that is known here; None while it is away."""
        found: dict[str, int | None] = {}
        for name in routes(QUEUES, versions_of(KINDS)):
            away = None in found.values()  # each further question would wait as long as the first
            found[name] = None if away else self._queue.waiting(name)
        return found

    def _send(self, job_id: str, queue: str) -> None:
        if not self._queue.publish(job_id, queue):
            return
        log.info("job_published", job_id=job_id, queue=queue)
        try:
            with self._database.transaction() as session:
                repository.mark_published(session, job_id)
        except SQLAlchemyError as error:  # the job is committed and sent; without the note it is sent once more
            log.warning("note_of_publication_failed", job_id=job_id, error=str(error))
