"""What a tenant may have under way and keep, and how long the queue may grow."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Barrier
from typing import Any

import pytest

from service.errors import QueueFull, QuotaExceeded
from service.ids import new_id
from service.jobs import lifecycle, submission, usage
from service.jobs.models import StoredArtifact, StoredCheckpoint
from service.jobs.quotas import Room
from service.jobs.states import Status
from service.problems.models import StoredProblem, Upload
from service.settings import Settings
from service.system import System
from tests.service.jobs import scenes

THREADS = 8


@pytest.fixture
def limited(settings: Settings) -> Iterator[System]:
    """A system of tenants who may have two jobs each."""
    changed = {"require_keys": True, "quota_active_jobs": 2}
    system = System.open(settings.model_copy(update=changed))
    yield system
    system.database.dispose()


def submit(system: System, tenant: str = scenes.TENANT, key: str | None = None, seed: int = 0) -> str:
    request = scenes.request(scenes.keep_problem(system, tenant=tenant), seed=seed)
    return submission.submit(system, system.dispatcher, tenant, request, key).id


def test_one_job_too_many_is_refused_until_another_has_ended(limited: System) -> None:
    first, _ = submit(limited), submit(limited)
    with pytest.raises(QuotaExceeded, match="2 of your jobs wait or run, and 2 may") as refused:
        submit(limited)
    assert (refused.value.status, refused.value.code) == (429, "quota_exceeded")
    assert refused.value.headers == {"Retry-After": "10"}
    submit(limited, "tenant-b")
    scenes.cancel(limited, first)
    submit(limited)


def test_a_running_job_counts(limited: System) -> None:
    job_id = submit(limited)
    submit(limited)
    scenes.claimed(limited, job_id)
    with pytest.raises(QuotaExceeded):
        submit(limited)


def test_the_same_job_asked_for_again_is_given_whatever_the_quota(limited: System) -> None:
    request = scenes.request(scenes.keep_problem(limited))
    ids = {submission.submit(limited, limited.dispatcher, scenes.TENANT, request, "key").id for _ in range(4)}
    assert len(ids) == 1


def test_of_many_at_once_no_more_pass_than_may(limited: System) -> None:
    problem = scenes.keep_problem(limited)
    barrier = Barrier(THREADS)

    def attempt(_: int) -> None:
        request = scenes.request(problem)
        barrier.wait()
        with suppress(QuotaExceeded):
            submission.submit(limited, limited.dispatcher, scenes.TENANT, request, None)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(attempt, range(THREADS)))
    with limited.database.reading() as session:
        assert usage.active_jobs(session, scenes.TENANT) == 2


def test_where_no_keys_are_asked_for_there_is_no_quota(settings: Settings) -> None:
    system = System.open(settings.model_copy(update={"quota_active_jobs": 1}))
    for _ in range(3):
        submit(system)
    system.database.dispose()


def test_a_quota_of_zero_is_none(limited: System) -> None:
    settings = limited.settings.model_copy(update={"quota_active_jobs": 0})
    system = replace(limited, settings=settings)
    for _ in range(3):
        submit(system)


def test_a_queue_that_is_full_takes_no_more_of_anybody(settings: Settings) -> None:
    system = System.open(settings.model_copy(update={"max_waiting_jobs": 2}))
    job_id, _ = submit(system), submit(system, "tenant-b")
    with pytest.raises(QueueFull, match="2 jobs wait already") as refused:
        submit(system, "tenant-c")
    assert (refused.value.status, refused.value.code, refused.value.headers) == (
        503,
        "queue_full",
        {"Retry-After": "30"},
    )
    scenes.claimed(system, job_id)
    submit(system, "tenant-c")
    system.database.dispose()


# --- bytes


def keep(system: System, tenant: str, size: int) -> None:
    """List an upload, a problem, and a job's artifact and checkpoint of this size each."""
    problem = scenes.keep_problem(system, tenant=tenant)
    request = scenes.request(problem)
    job = scenes.write(system, lambda session: lifecycle.submit(session, tenant, request, system.dispatcher)).id
    rest: dict[str, Any] = {"size_bytes": size, "sha256": new_id("x"), "storage_key": new_id("x")}
    rows = [
        Upload(id=new_id("upl"), tenant=tenant, content_type="t", **rest),
        StoredArtifact(job_id=job, name="a", content_type="t", **rest),
        StoredCheckpoint(id=new_id("ckp"), job_id=job, attempt=1, epoch=1, **rest),
    ]

    def write(session: Any) -> None:
        session.add_all(rows)
        session.get(StoredProblem, problem).size_bytes = size

    scenes.write(system, write)


def test_everything_a_tenant_keeps_is_counted_and_nothing_of_others(system: System) -> None:
    keep(system, "a", 10**11)
    keep(system, "a", 7)
    keep(system, "b", 3)
    with system.database.reading() as session:
        assert [usage.stored_bytes(session, tenant) for tenant in ("a", "b", "c")] == [4 * 10**11 + 28, 12, 0]


@dataclass
class Clock:
    """A clock that stands still."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_bytes_that_find_no_room_are_refused_and_so_is_everything_once_there_is_none(system: System) -> None:
    keep(system, "a", 10)
    room = Room(system.database, 100, Clock())
    room.take("a", 50)
    with pytest.raises(QuotaExceeded, match="you keep 90 bytes of 100, and 11 more find no room") as refused:
        room.take("a", 11)
    assert refused.value.headers == {"Retry-After": "60"}
    room.take("a", 10)
    with pytest.raises(QuotaExceeded):
        room.take("a", 0)
    room.take("b", 100)


def test_what_was_announced_and_did_not_come_is_forgotten_with_the_next_sum(system: System) -> None:
    clock = Clock()
    room = Room(system.database, 100, clock)
    room.take("a", 100)
    with pytest.raises(QuotaExceeded):
        room.take("a", 1)
    clock.now += 6
    room.take("a", 100)


def test_a_waiting_job_is_one_that_is_pending(system: System) -> None:
    first, second = submit(system), submit(system)
    scenes.claimed(system, first)
    with system.database.reading() as session:
        assert usage.waiting_jobs(session, 10) == 1
    assert scenes.job(system, second).status == Status.PENDING
