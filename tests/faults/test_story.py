"""The logs of all processes tell the story of one job by its id, whatever happened to it on the way."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.auth.guard import ANONYMOUS_TENANT
from service.system import System
from tests.faults.processes import holder, workers
from tests.faults.test_workers_killed import has_succeeded
from tests.service.api.door import open_door
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
FORGED = 'evil\n{"event": "job_succeeded", "job_id": "job_forged", "level": "info", "timestamp": "2000"}\n'
STORY = [
    *("api job_submitted", "api job_published", "api job_submitted_again"),
    *("worker job_claimed", "engine engine_started", "engine problem_loaded", "worker job_stage"),
    *("worker job_checkpoint", "worker job_worker_lost", "worker job_published", "worker job_claimed"),
    *("engine engine_started", "engine problem_loaded", "engine run_resumes", "worker job_stage"),
    *(
        "worker job_checkpoint",
        "engine artifact_saved",
        "engine engine_ended",
        "worker job_succeeded",
        "worker attempt_ended",
    ),
]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Give every line of every log in the folder; each must be an object of its own."""
    return [json.loads(line) for path in folder.glob("*.log") for line in path.read_bytes().splitlines()]


def story(folder: Path, job_id: str) -> list[dict[str, Any]]:
    """Give what `grep job_id *.log | sort by time` gives."""
    mine = [line for line in lines_of(folder) if job_id in json.dumps(line)]
    return sorted(mine, key=lambda line: line["timestamp"])


def assert_told_in_order(told: list[str], expected: list[str]) -> None:
    """Check that every expected event is there, each after the one before it; others may stand between."""
    rest = iter(told)
    missing = [event for event in expected if event not in rest]
    assert missing == [], told


@on_sqlite
def test_the_logs_tell_the_story_of_a_job_whose_worker_was_killed(own_system: System) -> None:
    problem_id = scenes.keep_problem(own_system, runs.PROBLEM, tenant=ANONYMOUS_TENANT)
    asked = {
        "kind": "calibration",
        "problem_id": problem_id,
        "hyperparameters": runs.DRAWN | {"epochs": runs.EPOCHS},
        "seed": runs.SEED,
        "checkpoint_every": runs.EVERY_EPOCHS,
        "tags": {"name": FORGED},
    }
    with open_door(own_system.settings) as door, workers(own_system, 2) as both:
        headers = {"Idempotency-Key": "mine", "X-Request-Id": "first"}
        job_id = door.http.post("/v1/jobs", json=asked, headers=headers).json()["id"]
        door.http.post("/v1/jobs", json=asked, headers=headers | {"X-Request-Id": "second"})
        killed, engine = holder(own_system, job_id, both)
        with runs.held_in_mid_run(own_system, job_id, engine):
            killed.popen.kill()
        until(lambda: has_succeeded(own_system, job_id))
    told = story(own_system.settings.data_dir, job_id)
    assert_told_in_order([f"{line['process']} {line['event']}" for line in told], STORY)
    assert all(line["job_id"] == job_id for line in told)
    by_event = {line["event"]: line for line in told}
    submitted, again = by_event["job_submitted"], by_event["job_submitted_again"]
    assert (submitted["request_id"], submitted["tenant"], again["request_id"]) == ("first", ANONYMOUS_TENANT, "second")
    attempts = [(line["attempt"], line["worker"], line["pid"]) for line in told if line["event"] == "engine_started"]
    assert [attempt for attempt, _, _ in attempts] == [1, 2]
    assert attempts[0][2] == engine.pid
    assert len({worker for _, worker, _ in attempts}) == 2
    assert {line["attempt"] for line in told if line["process"] == "engine"} == {1, 2}
    assert by_event["run_resumes"]["from_epoch"] > 0
    assert by_event["attempt_ended"]["how"] == "done"
    assert by_event["engine_ended"]["peak_memory_bytes"] > 2**20
    assert [line for line in lines_of(own_system.settings.data_dir) if line.get("job_id") == "job_forged"] == []
