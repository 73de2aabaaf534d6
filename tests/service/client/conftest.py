"""A service of the clients' own: its API as a process, and a worker where a test wants one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select

from service.client import Client, Job
from service.db.migrate import upgrade
from service.jobs.models import Job as StoredJob
from service.settings import Settings
from service.system import System
from tests.problems import solved
from tests.service.api.door import Door, open_door
from worker.execution import execute
from worker.identity import identity

SOLVED = solved(n_targets=8, n_units=60)


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Door]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("client"), broker_url=redis_url)
    upgrade(settings.database)
    with open_door(settings) as opened:
        yield opened


@pytest.fixture
def client(door: Door) -> Iterator[Client]:
    with Client(f"{door.http.base_url}") as opened:
        yield opened


@contextmanager
def working(system: System, job_id: str) -> Iterator[None]:
    """Run a job by a worker's own code, in a thread."""
    worker = threading.Thread(target=execute, args=(job_id, system, identity(system.settings), threading.Event()))
    worker.start()
    try:
        yield
    finally:
        worker.join()


def pending(system: System) -> list[str]:
    """Give the ids of the jobs that wait for a worker."""
    with system.database.reading() as session:
        return list(session.scalars(select(StoredJob.id).where(StoredJob.status == "pending")))


@pytest.fixture(scope="session")
def run(door: Door) -> Iterator[tuple[Job, list[dict[str, Any]]]]:
    """A calibration asked for and waited for; with every state it told."""
    problem, changes = SOLVED.problem, list[dict[str, Any]]()
    with Client(f"{door.http.base_url}") as client:
        job = client.calibrate(
            problem.matrix,
            problem.targets,
            initial_weights=problem.design_weights,
            record_budget=25,
            epochs=200,
            tags={"made": "by the client"},
        )
        with working(door.system, job.id):
            assert job.wait(changes.append) == job
        yield job, changes
