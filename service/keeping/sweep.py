"""One round of everything that is removed in time. Each worker makes rounds; only the eldest searches the store."""

import time
from collections.abc import Callable

from service.jobs import deletion, outbox, repository, workers
from service.jobs.submission import KEY_LIFETIME
from service.keeping import orphans, results, scratch, uploads
from service.resources import Resources

_LOST_WORKER_SECONDS = 3 * 86_400
_KEYS_A_ROUND = 10_000
_DAY_SECONDS = 86_400


class Sweep:
    """The rounds of one worker."""

    def __init__(self, system: Resources, worker_id: str) -> None:
        self._system, self._worker_id = system, worker_id
        self._next_search = 0.0

    def round(self, should_stop: Callable[[], bool]) -> None:
        """Remove what is past its time, a bounded part of it; breaks off between two parts where it shall stop."""
        scratch.remove_leftovers(self._system)
        results.expire(self._system)
        results.clear(self._system, should_stop)
        deletion.finish(self._system, should_stop)
        uploads.forget_unused(self._system)
        self._forget_small_rows()
        if not should_stop() and self._search_due():
            orphans.remove(self._system, should_stop)

    def _forget_small_rows(self) -> None:
        with self._system.database.transaction() as session:
            repository.forget_old_keys(session, KEY_LIFETIME.total_seconds(), _KEYS_A_ROUND)
            outbox.forget_settled(session, self._system.settings.retention_days * _DAY_SECONDS, _KEYS_A_ROUND)
            workers.forget_lost_workers(session, _LOST_WORKER_SECONDS)

    def _search_due(self) -> bool:
        """Say whether it is time for this worker to search the store."""
        settings, now = self._system.settings, time.monotonic()
        if now < self._next_search:
            return False
        self._next_search = now + settings.orphan_sweep_seconds
        with self._system.database.reading() as session:
            return workers.is_eldest(session, self._worker_id, settings.worker_seen_seconds)
