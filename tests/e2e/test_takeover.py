"""A worker killed in mid-job, under `l0 up`: the supervisor starts another, which goes on from the last checkpoint."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from l0core.calibration.survey import read_survey
from service.client import Client, Job
from service.local import local_service, up_command
from tests.services import MARK, marked_processes, new_mark

LONG: dict[str, Any] = {"epochs": 50_000, "lambda_share": 0.1}
QUICK = {  # the same rules on a shorter clock; the defaults are 30, 10 and 10 s
    "L0_LEASE_SECONDS": "4",
    "L0_RENEW_SECONDS": "1",
    "L0_REAP_SECONDS": "1",
    "L0_CHECKPOINT_SECONDS": "0.5",
}


@pytest.fixture
def minnesota() -> dict[str, Any]:
    example = Path(__file__).parents[2] / "examples" / "minnesota_2022"
    survey = read_survey(example / "households.csv.gz", example / "targets_spec.csv")
    return {"matrix": survey.matrix(), "targets": survey.values, "initial_weights": survey.weights()}


def wait_until(condition: Any, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.1)


def worker_pids(mark: str) -> list[int]:
    return [process.pid for process in marked_processes(mark) if process.cmdline()[1:] == ["-m", "worker"]]


def events(url: str, job: Job) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = httpx.get(f"{url}/v1/jobs/{job.id}/events", params={"limit": 1000}).json()["data"]
    return data


def test_a_killed_worker_s_job_goes_on_from_its_last_checkpoint(tmp_path: Path, minnesota: dict[str, Any]) -> None:
    mark = new_mark()
    with local_service(tmp_path / "data", environment={MARK: mark, **QUICK}) as url, Client(url) as client:
        problem = client.problem(**minnesota)
        job = client.submit(problem["id"], seed=3, **LONG)
        wait_until(lambda: any(event["type"] == "checkpoint" for event in events(url, job)), 60)
        for pid in worker_pids(mark):
            os.kill(pid, signal.SIGKILL)
        job.wait()
        state, told = job.state(), events(url, job)
        undisturbed = client.submit(problem["id"], seed=3, **LONG).wait()
        assert state["status"] == "succeeded"
        assert state["attempt"] == 2
        assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
        assert np.array_equal(job.weights(), undisturbed.weights())
        steps = job.metrics()["loss"]["step"]
        assert np.array_equal(steps, undisturbed.metrics()["loss"]["step"])


def test_the_cli_prints_one_line_and_ends_on_sigterm(tmp_path: Path) -> None:
    mark = new_mark()
    process = subprocess.Popen(
        up_command(tmp_path / "data"),
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert httpx.get(f"{url}/readyz").status_code == 200
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert rest == ""
    assert marked_processes(mark) == []
