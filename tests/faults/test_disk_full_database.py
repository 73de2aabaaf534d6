"""No room for the database: what cannot be written is refused, what was written stays sound, the job ends later."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psutil
import pytest
from sqlalchemy import event

from service.settings import Settings
from service.system import System
from tests.faults.engines import let_files_grow, let_no_file_grow_beyond
from tests.faults.processes import holder, workers
from tests.faults.test_workers_killed import assert_undisturbed, has_succeeded
from tests.service.api.door import Door, called_here, job_body, open_door, refused
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def is_sound(system: System) -> bool:
    with closing(sqlite3.connect(system.settings.data_dir / "l0.db")) as database:
        return database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@contextmanager
def no_room_for(*pids: int) -> Iterator[None]:
    """Let these processes write nothing, be it to the database or to their logs, for the time of the context."""
    processes = [psutil.Process(pid) for pid in pids]
    for process in processes:
        let_no_file_grow_beyond(process, 0)
    try:
        yield
    finally:
        for process in processes:
            let_files_grow(process)


def test_an_api_whose_database_has_no_room_refuses_and_serves_on(settings: Settings) -> None:
    with open_door(settings) as door:
        problem_id, jobs = door.listed_problem(), []
        jobs.append(door.job(problem_id)["id"])
        with no_room_for(door.pid):
            for _ in range(3):
                refused(door.http.post("/v1/jobs", json=job_body(problem_id)), 503, "not_ready")
            assert door.http.get(f"/v1/jobs/{jobs[0]}").json()["status"] == "pending"
            assert door.http.get("/readyz").status_code == 503
            assert door.http.get("/healthz").status_code == 200
        jobs.append(door.job(problem_id)["id"])
        assert {job["id"] for job in door.http.get("/v1/jobs").json()["data"]} == set(jobs)
        assert "unexpected_error" not in door.log
        assert is_sound(door.system)


def test_a_database_that_says_it_is_full_is_507(settings: Settings) -> None:
    with called_here(settings) as door:
        problem_id = door.listed_problem()
        with full_database(door):
            reply = door.http.post("/v1/jobs", json=job_body(problem_id, tags={"a": "b" * 200, "c": "d" * 200}))
            for _ in range(50):
                if reply.status_code != 202:
                    break
                reply = door.http.post("/v1/jobs", json=job_body(problem_id, tags={"a": "b" * 200}))
        body = refused(reply, 507, "storage_full", says="no room left")
        assert body["retryable"]
        assert reply.headers["Retry-After"] == "60"
        assert door.job(problem_id)["status"] == "pending"
        assert is_sound(door.system)


@contextmanager
def full_database(door: Door) -> Iterator[None]:
    """Let the database take no further page for the time of the context, as on a full disk."""
    engine = door.system.database.engine

    def limit(connection: Any, *_: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(engine, "connect", limit)
    engine.dispose()
    yield
    event.remove(engine, "connect", limit)
    engine.dispose()


def test_a_job_whose_worker_could_write_nothing_for_longer_than_its_lease_ends_all_the_same(
    system: System,
) -> None:
    with workers(system, 1) as (worker,):
        job_id = runs.submitted(system)
        _, engine = holder(system, job_id, [worker])
        with runs.held_in_mid_run(system, job_id, engine), no_room_for(worker.popen.pid):
            until(lambda: runs.is_gone(engine))
        assert worker.popen.poll() is None
        assert is_sound(system)
        until(lambda: has_succeeded(system, job_id))
    assert scenes.job(system, job_id).attempt == 2
    assert_undisturbed(system, job_id)
    assert is_sound(system)
    assert runs.leftovers(system) == []
