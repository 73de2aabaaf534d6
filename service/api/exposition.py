"""What the whole service counts, in Prometheus' words: from SQL, the broker and the disks, at the time of asking.

Numbers of jobs are gauges, although most only grow: a job may be deleted, and a counter that falls would be read as one
that began again. Alarms use `delta`, not `increase`.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import to_thread
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import make_url

from service.jobs.census import Census, Totals, count_now, count_totals
from service.jobs.routing import QUEUES
from service.jobs.states import Status
from service.logging import log
from service.system import System

Place = TypeVar("Place", bound=tuple[str, ...])
_PATIENCE_SECONDS = 2.0
_TOTALS_SECONDS = 60.0
_DEVICES = {"cpu": "cpu", "gpu": "cuda"}
_WEBHOOK_STATES = ("waiting", "delivered", "given_up")
_WATCHED_CODES = ("worker_lost", "engine_crashed", "out_of_memory", "storage_full", "deadline_exceeded", "diverged")


@dataclass(kw_only=True)
class Snapshot(Collector):
    """What could be counted; None where nobody answered in time."""

    census: Census | None = None
    totals: Totals | None = None
    waiting_ids: Mapping[str, int | None] = field(default_factory=dict)
    disks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    database_seconds: float = 0.0

    def collect(self) -> Iterator[Metric]:
        """Give every number."""
        up = self.census is not None
        yield _one("l0_database_up", "1 where the database has answered this scrape in time.", float(up))
        yield _one("l0_database_seconds", "Seconds the database took to count for this scrape.", self.database_seconds)
        yield from _of_census(self.census) if self.census else ()
        yield from _of_totals(self.totals) if self.totals else ()
        yield from _of_broker(self.waiting_ids)
        yield from _of_disks(self.disks)


class Watchtower:
    """Looks at the whole service, in no more than `_PATIENCE_SECONDS`, whatever fails or hangs.

    A look that hangs keeps its thread; the next one waits for that thread and gives up too, rather than take another.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._totals: Totals | None = None
        self._totals_at = float("-inf")
        looks = (self._at_the_database, self._at_the_broker, self._at_the_disks)
        self._looks = [(look, anyio.CapacityLimiter(1)) for look in looks]

    async def look(self) -> Snapshot:
        """Give what can be counted now."""
        seen = Snapshot()
        with anyio.move_on_after(_PATIENCE_SECONDS):
            async with anyio.create_task_group() as together:
                for look, one_at_a_time in self._looks:
                    run = partial(to_thread.run_sync, abandon_on_cancel=True, limiter=one_at_a_time)
                    together.start_soon(run, _tried, look, seen)
        return seen

    def _at_the_database(self, seen: Snapshot) -> None:
        began = time.monotonic()
        with self._system.database.reading() as session:
            census = count_now(session, self._system.settings.worker_seen_seconds)
            if began - self._totals_at >= _TOTALS_SECONDS:
                self._totals, self._totals_at = count_totals(session), began
        seen.database_seconds = time.monotonic() - began
        seen.totals, seen.census = self._totals, census

    def _at_the_broker(self, seen: Snapshot) -> None:
        seen.waiting_ids = self._system.dispatcher.waiting_ids()

    def _at_the_disks(self, seen: Snapshot) -> None:
        disks = {"files": self._system.store.scratch()}
        url = make_url(self._system.settings.database)
        if url.get_backend_name() == "sqlite" and url.database:
            disks["database"] = Path(url.database)
        used = {holds: shutil.disk_usage(path) for holds, path in disks.items()}
        seen.disks = {holds: (usage.free, usage.total) for holds, usage in used.items()}


def _tried(look: Callable[[Snapshot], None], seen: Snapshot) -> None:
    try:
        look(seen)
    except Exception as error:  # noqa: BLE001 - what cannot be counted is left out, and the log says why
        log.warning("not_counted", what=look.__name__.lstrip("_"), error=str(error))


def _of_census(census: Census) -> Iterator[Metric]:
    jobs = {(status.value, queue): 0 for status in Status for queue in QUEUES} | dict(census.jobs)
    yield _many("l0_jobs", "Jobs the database lists.", ("status", "queue"), jobs)
    ages = dict.fromkeys(QUEUES, 0.0) | dict(census.oldest_pending_seconds)
    text = "Seconds since the oldest job that is still pending was submitted; 0 where none is."
    yield _many("l0_oldest_pending_seconds", text, ("queue",), _keyed(ages))
    text = (
        "Running jobs by lease. held: a worker shows that it lives. expired: nobody holds the job; its worker was lost "
        "or gave it back, and no other has taken it yet."
    )
    leases = {"held": census.leases_held, "expired": census.leases_expired}
    yield _many("l0_leases", text, ("state",), _keyed(leases))
    none = dict.fromkeys(_DEVICES.items(), 0)
    text = "Workers seen lately (L0_WORKER_SEEN_SECONDS); one that serves two queues counts in both."
    yield _many("l0_workers", text, ("queue", "device"), none | dict(census.workers))
    unserved = {queue: census.jobs_without_worker(queue) for queue in QUEUES}
    text = "Pending jobs of a queue that no worker seen lately serves."
    yield _many("l0_jobs_without_worker", text, ("queue",), _keyed(unserved))


def _of_totals(totals: Totals) -> Iterator[Metric]:
    since = f"Counted at most every {_TOTALS_SECONDS:g} seconds."
    failures = dict.fromkeys(_WATCHED_CODES, 0) | dict(totals.failures)
    yield _many("l0_failed_jobs", f"Failed jobs the database lists, by code. {since}", ("code",), _keyed(failures))
    text = f"Attempts all listed jobs have begun; one that was handed back does not count. {since}"
    yield _one("l0_attempts", text, totals.attempts)
    yield _one("l0_epochs", f"Epochs all listed jobs have computed, as last reported. {since}", totals.epochs)
    text = f"Messages to webhooks of ended jobs, by what became of them. {since}"
    webhooks = dict.fromkeys(_WEBHOOK_STATES, 0) | dict(totals.webhooks)
    yield _many("l0_webhooks", text, ("state",), _keyed(webhooks))


def _of_broker(waiting_ids: Mapping[str, int | None]) -> Iterator[Metric]:
    known = {queue: number for queue, number in waiting_ids.items() if number is not None}
    has_answered = bool(known) and len(known) == len(waiting_ids)
    yield _one("l0_broker_up", "1 where the broker has answered this scrape in time.", float(has_answered))
    yield _many("l0_broker_waiting_ids", "Ids of jobs that wait in the broker.", ("queue",), _keyed(known))


def _of_disks(disks: Mapping[str, tuple[int, int]]) -> Iterator[Metric]:
    where = "of the disk that takes files on their way in (files) or holds the SQLite database (database)."
    free = {holds: free for holds, (free, _) in disks.items()}
    size = {holds: size for holds, (_, size) in disks.items()}
    yield _many("l0_disk_free_bytes", f"Free bytes {where}", ("holds",), _keyed(free))
    yield _many("l0_disk_size_bytes", f"Size {where}", ("holds",), _keyed(size))


def _keyed(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): value for name, value in values.items()}


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _many(name: str, text: str, labels: Iterable[str], values: Mapping[Place, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    for place, value in values.items():
        family.add_metric(place, value)
    return family
