"""What a worker does beside its jobs, and what must not end it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, text

from service.jobs.models import Worker
from service.settings import Settings
from service.system import System
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from worker.maintenance import Maintenance

SOME_ROUNDS_SECONDS = 12.0


@contextmanager
def maintained(system: System) -> Iterator[None]:
    thread = Maintenance(system, scenes.WORKER)
    thread.start()
    yield
    thread.stop()


def last_sign(system: System) -> float:
    """Give when the worker was seen last; 0 where it is on no list."""
    with system.database.reading() as session:
        seen = session.scalar(select(Worker.seen_at).where(Worker.id == scenes.WORKER.id))
    return seen.timestamp() if seen else 0.0


def test_a_worker_shows_that_it_lives_round_by_round(system: System) -> None:
    with maintained(system):
        first = until(lambda: last_sign(system))
        until(lambda: last_sign(system) > first)


def test_a_worker_that_ends_on_purpose_takes_itself_off_the_list(system: System) -> None:
    with maintained(system):
        until(lambda: last_sign(system))
    assert last_sign(system) == 0.0


def test_a_lost_job_is_found(system: System) -> None:
    held = scenes.running(system)
    scenes.expire(system, held.job_id)
    scenes.empty_broker(system.settings.broker)
    with maintained(system):
        until(lambda: held.job_id in scenes.sent(system))


def test_a_forgotten_job_is_found(system: System) -> None:
    job_id = scenes.submitted(system)
    scenes.empty_broker(system.settings.broker)
    scenes.published_long_ago(system, job_id)
    with maintained(system):
        until(lambda: job_id in scenes.sent(system))


def test_it_goes_on_after_the_database_was_away(system: System) -> None:
    with maintained(system):
        until(lambda: last_sign(system))
        scenes.write(system, lambda session: session.execute(text("ALTER TABLE workers RENAME TO gone")))
        time.sleep(2 * system.settings.reap_seconds)  # a round or two fail
        scenes.write(system, lambda session: session.execute(text("ALTER TABLE gone RENAME TO workers")))
        back = last_sign(system)
        until(lambda: last_sign(system) > back)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_goes_on_while_the_broker_is_away(system: System, tmp_path: Path) -> None:
    url = f"redis+socket://{tmp_path / 'nobody.sock'}"
    brokerless = System.open(Settings(**system.settings.model_dump(exclude_unset=True) | {"broker_url": url}))
    scenes.published_long_ago(system, scenes.submitted(system))
    with maintained(replace(brokerless, database=system.database)):
        first = until(lambda: last_sign(system))
        until(lambda: last_sign(system) > first, SOME_ROUNDS_SECONDS)
    brokerless.database.dispose()
