"""A worker or an API that dies before or after each act that others see: the job ends once all the same."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from service.auth.guard import ANONYMOUS_TENANT
from service.jobs.models import Job
from service.processes import end, spawn
from service.system import System
from tests.faults.dying import DIED, dying, run_to_its_end
from tests.faults.processes import workers
from tests.faults.test_workers_killed import assert_undisturbed, has_succeeded
from tests.service.api.door import open_door
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

OF_A_WORKER = (  # the claim, a report, the end
    "commit@_execute#1:before",
    "commit@_execute#1:after",
    "commit@_report#1:before",
    "commit@_report#1:after",
    "commit@_finish#1:before",
)
OF_AN_API = (  # the job, its id, the note that the id was sent
    ("postgresql", "commit@submit#1:before"),
    ("postgresql", "commit@submit#1:after"),
    ("sqlite", "commit@submit#1:after"),
    ("postgresql", "publish@publish#1:after"),
    ("sqlite", "commit@_send#1:after"),
)
ATTEMPT = """
import sys, threading
from service.settings import Settings
from service.system import System
from tests.service.jobs.scenes import WORKER
from worker.execution import execute
execute(sys.argv[1], System.open(Settings()), WORKER, threading.Event())
"""


def attempted(system: System, job_id: str, point: str) -> int:
    """Make an attempt in a process of its own; gives how that process ended."""
    command = [sys.executable, "-c", ATTEMPT, job_id]
    return run_to_its_end(command, dying(system, "-c", point), system.settings.data_dir / "attempt.log")


def as_far_as_it_came(system: System, job_id: str) -> Job:
    """Look at a job whose worker has just died, and let its lease be over."""
    job = scenes.job(system, job_id)
    if job.status == "running":
        scenes.expire(system, job_id)
    return job


def test_a_worker_may_die_at_each_of_its_acts(system: System) -> None:
    job_id = runs.submitted(system, max_attempts=100)
    for point in OF_A_WORKER:
        assert attempted(system, job_id, point) == DIED, point
        assert as_far_as_it_came(system, job_id).status in {"pending", "running"}, point
    assert attempted(system, job_id, "commit@_finish#1:after") == DIED
    job = scenes.job(system, job_id)
    assert (job.status, job.attempt) == ("succeeded", len(OF_A_WORKER))  # the first died before it had claimed
    assert_undisturbed(system, job_id)


@pytest.mark.parametrize(("database_url", "point"), OF_AN_API, indirect=["database_url"])
def test_an_api_may_die_at_each_of_its_acts(system: System, point: str) -> None:
    """R11: the job runs exactly once, and the key gives it, whatever the first API had come to."""
    body = {"kind": "calibration", "problem_id": scenes.keep_problem(system, runs.PROBLEM, tenant=ANONYMOUS_TENANT)}
    asked: dict[str, Any] = {"json": body | {"hyperparameters": {"epochs": 5}}, "headers": {"Idempotency-Key": "once"}}
    with api(system, point) as (url, process), pytest.raises(httpx.TransportError):
        httpx.post(f"{url}/v1/jobs", timeout=60, **asked)
    assert process.returncode == DIED
    with open_door(system.settings) as door, workers(system, 1):
        job_id = door.http.post("/v1/jobs", **asked).json()["id"]
        until(lambda: has_succeeded(system, job_id))
        assert [job["id"] for job in door.http.get("/v1/jobs").json()["data"]] == [job_id]
    assert scenes.event_types(system, job_id).count("submitted") == 1
    assert scenes.job(system, job_id).attempt == 1


@contextmanager
def api(system: System, point: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Serve in a process that dies at `point`; its end is waited for."""
    listener = socket.create_server(("127.0.0.1", 0))
    handle = listener.fileno()
    with (system.settings.data_dir / "dying-api.log").open("wb") as log:
        command = [sys.executable, "-m", "service.api.serve", str(handle)]
        process = spawn(
            command,
            environment=dying(system, "service.api.serve", point),
            stdout=log,
            stderr=log,
            pass_fds=(handle,),
        )
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    try:
        yield address, process
        until(lambda: process.poll() is not None)
    finally:
        end(process, 10)
