"""Results past their time: expired, then cleared a part at a time, then their bytes deleted."""

from collections.abc import Callable

from service.jobs import expiry
from service.logging import log
from service.resources import Resources

_JOBS_A_ROUND = 1000
_PARTS_A_ROUND = 2000
_DAY_SECONDS = 86_400


def expire(system: Resources) -> None:
    """Let every job whose time is over expire; the oldest first, the rest in the next round."""
    with system.database.transaction() as session:
        expired = expiry.expire(session, system.settings.retention_days * _DAY_SECONDS, _JOBS_A_ROUND)
    if expired:
        log.info("jobs_expired", jobs=expired)


def clear(system: Resources, should_stop: Callable[[], bool]) -> None:
    """Remove what expired jobs have left: rows first, each part a transaction, then the bytes of what they named.

    Whoever dies between the last two leaves files that nothing refers to, for `orphans`.
    """
    for _ in range(_PARTS_A_ROUND):
        if should_stop():
            return
        with system.database.transaction() as session:
            cleared = expiry.clear(session)
        if cleared is None:
            return
        for key in cleared.storage_keys:
            system.store.delete(key)
