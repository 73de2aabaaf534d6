"""Workers: seen, seen again, forgotten."""

import pytest
from sqlalchemy import update

from service.db.base import database_now
from service.jobs import workers
from service.jobs.models import Worker
from service.system import System
from tests.service.jobs import scenes


def see(system: System) -> None:
    scenes.write(system, lambda session: workers.see_worker(session, scenes.WORKER))


def seen(system: System, within_seconds: float = 60.0) -> list[Worker]:
    with system.database.reading() as session:
        return workers.workers_seen(session, within_seconds)


def age(system: System, seconds: float) -> None:
    scenes.write(system, lambda session: session.execute(update(Worker).values(seen_at=database_now() - seconds)))


def test_a_worker_that_shows_itself_is_seen(system: System) -> None:
    see(system)
    (worker,) = seen(system)
    assert (worker.id, worker.host, worker.queues, worker.device) == ("wrk_one", "here", ["cpu"], "cpu")
    assert worker.versions == {"engine": "1"}


def test_a_worker_that_is_silent_is_no_longer_seen(system: System) -> None:
    see(system)
    age(system, 61.0)
    assert seen(system) == []


def test_a_worker_that_shows_itself_again_is_seen_again(system: System) -> None:
    see(system)
    age(system, 61.0)
    see(system)
    assert [worker.id for worker in seen(system)] == ["wrk_one"]


@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_that_ended_on_purpose_is_gone(system: System, times: int) -> None:
    see(system)
    for _ in range(times):
        scenes.write(system, lambda session: workers.forget_worker(session, "wrk_one"))
    assert seen(system) == []
