"""A database that is away or stands still for a while, and workers whose clocks are wrong."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from service.db.migrate import upgrade
from service.system import System
from tests.faults.processes import holder, running_worker, workers
from tests.faults.test_workers_killed import assert_undisturbed, has_succeeded
from tests.servers import Postgres, own_postgres
from tests.service.api.door import open_door
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.services import quick_settings
from tests.worker import runs

AN_HOUR_AHEAD = """
import time
real = time.time
time.time = lambda: real() + 3600.0
from worker.__main__ import main
main()
"""


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL that no other test uses."""
    with own_postgres() as made:
        upgrade(made.url)
        yield made


@pytest.fixture
def on_own_postgres(tmp_path: Path, redis_url: str, server: Postgres) -> Iterator[System]:
    """A system on that server."""
    made = System.open(quick_settings(tmp_path, database_url=server.url, broker_url=redis_url))
    yield made
    made.database.dispose()


@contextmanager
def patient(system: System) -> Iterator[System]:
    """The same with a lease longer than any absence here."""
    made = System.open(system.settings.model_copy(update={"lease_seconds": 90.0}))
    yield made
    made.database.dispose()


def test_a_job_outlives_a_database_that_is_stopped_and_comes_back(on_own_postgres: System, server: Postgres) -> None:
    """R12: training goes on, what it tells waits, the API says 503 and when to ask again, nothing is lost."""
    with (
        patient(on_own_postgres) as system,
        open_door(system.settings) as door,
        workers(system, 1) as (worker,),
    ):
        job_id = runs.submitted(system)
        _, engine = holder(system, job_id, [worker])
        with runs.held_in_mid_run(system, job_id, engine):
            server.crash()
        until(lambda: "flush_failed" in worker.log.read_text())
        reply = door.http.get(f"/v1/jobs/{job_id}")
        until(lambda: worker.log.read_text().count("_failed") > 2)
        server.start()
        system.database.dispose()  # this process has connections to the server that died
        until(lambda: has_succeeded(system, job_id))
        assert (reply.status_code, reply.json()["code"]) == (503, "not_ready")
        assert int(reply.headers["Retry-After"]) > 0
        assert scenes.job(system, job_id).attempt == 1
        assert_undisturbed(system, job_id)


def test_a_lease_that_runs_out_while_the_database_is_away_is_another_attempt(
    on_own_postgres: System, server: Postgres
) -> None:
    """Longer than the lease: the worker lets go by itself, and the job goes on from its checkpoint."""
    system = on_own_postgres
    with workers(system, 1) as (worker,):
        job_id = runs.submitted(system)
        _, engine = holder(system, job_id, [worker])
        with runs.held_in_mid_run(system, job_id, engine):
            server.crash()
            until(lambda: "lease_lost" in worker.log.read_text())
            until(lambda: runs.is_gone(engine))
        server.start()
        system.database.dispose()
        until(lambda: has_succeeded(system, job_id))
    assert scenes.job(system, job_id).attempt == 2
    assert_undisturbed(system, job_id)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_outlives_a_database_file_that_is_locked(system: System) -> None:
    """R12 on one machine: the file is locked for longer than anybody waits for it."""
    with patient(system) as waits, workers(waits, 1) as (worker,), closing(lock_of(waits)) as lock:
        job_id = runs.submitted(waits)
        _, engine = holder(waits, job_id, [worker])
        with runs.held_in_mid_run(waits, job_id, engine):
            lock.execute("BEGIN IMMEDIATE")
        until(lambda: "flush_failed" in worker.log.read_text())
        lock.execute("ROLLBACK")
        until(lambda: has_succeeded(waits, job_id))
        assert scenes.job(waits, job_id).attempt == 1
        assert_undisturbed(waits, job_id)


def lock_of(system: System) -> sqlite3.Connection:
    return sqlite3.connect(system.settings.data_dir / "l0.db", timeout=30, isolation_level=None)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_worker_whose_clock_is_an_hour_ahead_takes_nobody_s_job(system: System) -> None:
    """R24: leases know the database's clock only."""
    with (
        workers(system, 1) as (right,),
        running_worker(system, "ahead", [sys.executable, "-c", AN_HOUR_AHEAD]) as ahead,
    ):
        job_id = runs.submitted(system)
        _, engine = holder(system, job_id, [right, ahead])
        with runs.held_in_mid_run(system, job_id, engine):
            for _ in range(3):
                assert system.queue.publish(job_id, "cpu")
            until(lambda: refused(right.log, ahead.log) >= 3)
        until(lambda: has_succeeded(system, job_id))
        following = [runs.submitted(system, epochs=5) for _ in range(4)]
        until(lambda: all(has_succeeded(system, each) for each in following))
    assert all(scenes.job(system, each).attempt == 1 for each in [job_id, *following])
    assert_undisturbed(system, job_id)


def refused(*logs: Path) -> int:
    return sum(log.read_text().count('"job_not_claimed"') for log in logs)
