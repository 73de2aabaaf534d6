"""What every worker does beside its jobs: show that it lives, look for lost and forgotten ones, sweep."""

from service.jobs import lifecycle, waiting, workers
from service.jobs.values import WorkerIdentity
from service.keeping.sweep import Sweep
from service.logging import log
from service.system import System
from worker.rounds import Rounds


class Maintenance:
    """Two threads: one that must not be late, every `reap_seconds`, and one that may take its time."""

    def __init__(self, system: System, worker: WorkerIdentity) -> None:
        self._system, self._worker = system, worker
        self._sweep = Sweep(system, worker.id)
        self._signs = Rounds("maintenance", self._round, system.settings.reap_seconds)
        self._sweeps = Rounds("sweep", self._sweep_round, system.settings.sweep_seconds)

    def start(self) -> None:
        """Begin with a round of each at once."""
        self._signs.start()
        self._sweeps.start()

    def stop(self) -> None:
        """End after the rounds in hand, and take this worker off the list."""
        self._sweeps.tell()
        self._signs.stop()
        self._sweeps.stop()
        with self._system.database.transaction() as session:
            workers.forget_worker(session, self._worker.id)
            waiting.review(session, self._system.settings.worker_seen_seconds)

    def _round(self) -> None:
        dispatcher = self._system.dispatcher
        held = dispatcher.waiting_ids()
        with self._system.database.transaction() as session:
            workers.see_worker(session, self._worker)
            sent = lifecycle.reap(session, self._system.settings.republish_seconds, dispatcher, held)
            waiting.review(session, self._system.settings.worker_seen_seconds)
        for job_id in sent:
            log.info("job_sent_again", job_id=job_id)

    def _sweep_round(self) -> None:
        self._sweep.round(self._sweeps.told_to_stop)
