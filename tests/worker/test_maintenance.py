"""What a worker does beside its jobs, and what must not end it."""

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, text

from service.jobs.models import Worker
from service.settings import Settings
from service.system import System
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from worker.maintenance import Maintenance

SOME_ROUNDS_SECONDS = 30.0
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


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


@on_sqlite
def test_a_worker_that_ends_before_it_was_ready_ends_quietly(system: System) -> None:
    Maintenance(system, scenes.WORKER).stop()


@on_sqlite
def test_nobody_waits_for_the_database_while_the_broker_is_asked(system: System, tmp_path: Path) -> None:
    scenes.published_long_ago(system, scenes.submitted(system))
    asked = sqlite3.connect(tmp_path / "l0.db", timeout=0.5, isolation_level=None, check_same_thread=False)
    with closing(asked) as database, slow_broker(tmp_path / "slow.sock", partial(takes_writes, database)) as answers:
        slow = System.open(
            system.settings.model_copy(update={"broker_url": f"redis+socket://{tmp_path / 'slow.sock'}"})
        )
        with maintained(replace(slow, database=system.database)):
            until(lambda: len(answers) >= 1)
        slow.database.dispose()
    assert set(answers) == {True}


def takes_writes(database: sqlite3.Connection) -> bool:
    """Say whether the database may be written just now."""
    try:
        database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    database.execute("ROLLBACK")
    return True


@contextmanager
def slow_broker(socket_path: Path, look: Callable[[], bool]) -> Iterator[list[bool]]:
    """Listen where a broker should; at each call look about, then hang up. Gives what was seen."""
    seen: list[bool] = []

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                caller, _ = listener.accept()
                with caller:
                    seen.append(look())

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@on_sqlite
def test_it_goes_on_while_the_broker_is_away(system: System, tmp_path: Path) -> None:
    url = f"redis+socket://{tmp_path / 'nobody.sock'}"
    brokerless = System.open(Settings(**system.settings.model_dump(exclude_unset=True) | {"broker_url": url}))
    scenes.published_long_ago(system, scenes.submitted(system))
    with maintained(replace(brokerless, database=system.database)):
        first = until(lambda: last_sign(system))
        until(lambda: last_sign(system) > first, SOME_ROUNDS_SECONDS)
    brokerless.database.dispose()
