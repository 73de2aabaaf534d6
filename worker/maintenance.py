"""What every worker does beside its jobs: show that it lives, find lost and forgotten ones, sweep, tell webhooks."""

from service.jobs import lifecycle, waiting, workers
from service.jobs.values import WorkerIdentity
from service.keeping.sweep import Sweep
from service.logging import log
from service.system import System
from worker.rounds import Rounds
from worker.webhooks import LOOK_SECONDS, Webhooks


class Maintenance:
    """Three threads: one that must not be late, every `reap_seconds`, and two that may take their time."""

    def __init__(self, system: System, worker: WorkerIdentity) -> None:
        self._system, self._worker = system, worker
        self._sweep = Sweep(system, worker.id)
        self._webhooks = Webhooks(system)
        self._signs = Rounds("maintenance", self._round, system.settings.reap_seconds)
        self._sweeps = Rounds("sweep", self._sweep_round, system.settings.sweep_seconds)
        self._tells = Rounds("webhooks", self._webhook_round, LOOK_SECONDS)

    def start(self) -> None:
        """Begin with a round of each at once."""
        self._signs.start()
        self._sweeps.start()
        self._tells.start()

    def stop(self) -> None:
        """End after the rounds in hand, and take this worker off the list."""
        self._sweeps.tell()
        self._tells.tell()
        self._signs.stop()
        self._sweeps.stop()
        self._tells.stop()
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

    def _webhook_round(self) -> None:
        self._webhooks.round(self._tells.told_to_stop)
