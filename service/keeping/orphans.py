"""Files in the store that no row names: stored by somebody who died, or lost the job, before the row was written.

One is removed if it is old and if, after it was seen in the store, the database was asked and names it nowhere. Who
stores a file lists it within a lease or not at all, so that an old file never comes to be named.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy.orm import Session

from service.jobs import repository as jobs
from service.jobs import traces
from service.jobs.values import Claim, attempt_prefix
from service.logging import log
from service.problems import repository as problems
from service.resources import Resources

_PREFIXES = ("jobs/", "problems/", "uploads/")
_KEYS_A_LOOK = 500


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the database says of some keys: how many it names, which its own jobs left, which it knows nothing of."""

    named: int
    left: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def remove(system: Resources, should_stop: Callable[[], bool]) -> None:
    """Search the whole store and delete its orphans.

    Uploads, problems and jobs that the database has never heard of go only where it knows most of what the store
    holds: else it is another store's database, an empty one or an old one, and nothing must go.
    """
    named, unknown, removed = 0, list[str](), 0
    for keys in _pages(_old_keys(system)):
        if should_stop():
            return
        look = look_up(system, keys)
        named, unknown, removed = named + look.named, unknown + look.unknown, removed + len(look.left)
        _delete(system, look.left)
    if len(unknown) > named:
        log.warning("store_is_not_this_database_s", named=named, unknown=len(unknown))
        return
    _delete(system, unknown)
    if removed or unknown:
        log.info("orphans_removed", count=removed + len(unknown))


def remove_of_attempt(system: Resources, held: Claim) -> None:
    """Delete what an attempt that is over has stored and nothing names: it lost the job, or broke off while storing.

    Where the job has ended, the attempts before it can list nothing any more: what they have left goes too.
    """
    keys = [stored.key for stored in system.store.keys(f"jobs/{held.job_id}/")]
    with system.database.transaction() as session:
        jobs.lock_job(session, held.job_id)  # its last transaction may be on its way still, its answer lost
        job = jobs.job_by_id(session, held.job_id)
        named = traces.listed_files(session, [held.job_id])
    mine = "" if job is None or job.has_ended else attempt_prefix(held.job_id, held.token)
    _delete(system, [key for key in keys if key.startswith(mine) and key not in named])


def look_up(system: Resources, keys: Collection[str]) -> Look:
    """Ask the database what it knows of these keys; those of an attempt that runs count as named."""
    owners = {key: key.split("/")[1] for key in keys}
    with system.database.reading() as session:
        named = _named(session, set(owners.values()))
        tokens = jobs.running_tokens(session, set(owners.values()))
    loose = [key for key in keys if key not in named and not _is_of(key, tokens.get(owners[key]))]
    return Look(
        named=len(keys) - len(loose),
        left=[key for key in loose if owners[key] in tokens],
        unknown=[key for key in loose if owners[key] not in tokens],
    )


def _named(session: Session, ids: Collection[str]) -> set[str]:
    return traces.listed_files(session, ids) | problems.listed_files(session, ids)


def _is_of(key: str, token: str | None) -> bool:
    return token is not None and key.startswith(attempt_prefix(key.split("/")[1], token))


def _old_keys(system: Resources) -> Iterator[str]:
    before = datetime.now(UTC) - timedelta(seconds=system.settings.orphan_seconds)
    for prefix in _PREFIXES:
        yield from (stored.key for stored in system.store.keys(prefix) if stored.modified_at < before)


def _pages(keys: Iterable[str]) -> Iterator[list[str]]:
    waiting = iter(keys)
    while page := list(islice(waiting, _KEYS_A_LOOK)):
        yield page


def _delete(system: Resources, keys: Iterable[str]) -> None:
    for key in keys:
        system.store.delete(key)
