"""What a tenant may keep and have under way, and how long the queue may grow. Quotas hold where keys are asked for."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Self

from sqlalchemy.orm import Session

from service.db.session import Database
from service.errors import QueueFull, QuotaExceeded
from service.jobs import usage
from service.resources import Resources
from service.settings import Settings

_SUM_SECONDS = 5.0
_NEVER = (0, float("-inf"))
_ROOM_AGAIN_SECONDS = 60
_JOBS_AGAIN_SECONDS = 10
_QUEUE_AGAIN_SECONDS = 30


def check_submission(session: Session, settings: Settings, tenant: str) -> None:
    """Refuse one job too many of a tenant, or of all; holds until the session's transaction ends."""
    most = settings.quota_active_jobs
    if settings.asks_for_keys and most:
        usage.one_at_a_time(session, tenant)
        _check_active(usage.active_jobs(session, tenant), most)
    if usage.waiting_jobs(session, settings.max_waiting_jobs) >= settings.max_waiting_jobs:
        text = f"{settings.max_waiting_jobs:,} jobs wait already, as many as this service takes; try again later"
        raise QueueFull(text, retry_after_seconds=_QUEUE_AGAIN_SECONDS)


def _check_active(active: int, most: int) -> None:
    if active >= most:
        text = f"{active} of your jobs wait or run, and {most} may; submit again once one has ended, or cancel one"
        raise QuotaExceeded(text, retry_after_seconds=_JOBS_AGAIN_SECONDS)


class Room:
    """What tenants keep, for all requests of this process: summed in SQL every few seconds at most.

    What is announced meanwhile is added, so that many uploads at once do not each find the same room. A body that does
    not announce its length counts once it is kept.
    """

    def __init__(self, database: Database, quota_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._quota, self._clock = database, quota_bytes, clock
        self._sums: dict[str, tuple[int, float]] = {}
        self._lock = Lock()

    @classmethod
    def of(cls, resources: Resources) -> Self:
        """Give the room that the settings allow."""
        return cls(resources.database, resources.settings.quota_stored_bytes)

    def take(self, tenant: str, n_bytes: int) -> None:
        """Count bytes that are about to come; refuses what finds no room."""
        if self._clock() >= self._sums.get(tenant, _NEVER)[1]:
            kept = self._summed(tenant)
            with self._lock:
                self._sums[tenant] = kept, self._clock() + _SUM_SECONDS
        with self._lock:
            kept, until = self._sums[tenant]
            fits = kept + n_bytes <= self._quota and kept < self._quota
            self._sums[tenant] = kept + n_bytes if fits else kept, until
        if not fits:
            raise self._refusal(kept, n_bytes)

    def _summed(self, tenant: str) -> int:
        with self._database.reading() as session:
            return usage.stored_bytes(session, tenant)

    def _refusal(self, kept: int, n_bytes: int) -> QuotaExceeded:
        text = (
            f"you keep {kept:,} bytes of {self._quota:,}, and {n_bytes:,} more find no room; delete jobs and problems "
            "you no longer need"
        )
        return QuotaExceeded(text, retry_after_seconds=_ROOM_AGAIN_SECONDS)
