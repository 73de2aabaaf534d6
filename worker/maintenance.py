"""What every worker does beside its jobs: show that it lives, and look for lost and forgotten ones."""

import threading

from sqlalchemy.exc import SQLAlchemyError

from service.jobs import lifecycle, workers
from service.jobs.values import WorkerIdentity
from service.logging import log
from service.system import System


class Maintenance:
    """A thread that runs a round every `reap_seconds` until it is stopped."""

    def __init__(self, system: System, worker: WorkerIdentity) -> None:
        self._system, self._worker = system, worker
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._rounds, name="maintenance", daemon=True)

    def start(self) -> None:
        """Begin with a round at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round in hand, and take this worker off the list."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        with self._system.database.transaction() as session:
            workers.forget_worker(session, self._worker.id)

    def _rounds(self) -> None:
        while not self._stopped.is_set():
            try:
                self._round()
            except SQLAlchemyError as error:
                log.warning("maintenance_failed", error=str(error))
            self._stopped.wait(self._system.settings.reap_seconds)

    def _round(self) -> None:
        dispatcher = self._system.dispatcher
        waiting = dispatcher.waiting_ids()
        with self._system.database.transaction() as session:
            workers.see_worker(session, self._worker)
            sent = lifecycle.reap(session, self._system.settings.republish_seconds, dispatcher, waiting)
        if sent:
            log.info("published_again", jobs=sent)
