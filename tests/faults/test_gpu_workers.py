"""Workers on a card: real processes, real claims, real locks; only the card is pretended."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from l0core.kind import versions_of
from l0core.kinds import KINDS
from service.api.routes import health
from service.jobs import submission
from service.system import System
from tests.faults.pretending import Cards, with_card
from tests.faults.processes import WorkerProcess, holder, workers
from tests.faults.test_workers_killed import has_succeeded
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
pytestmark = on_sqlite


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    made = Cards(tmp_path)
    made.put_in("cuda:0")
    return made


def asked_for(system: System, device: str = "cuda", **changes: Any) -> str:
    """Submit as the API does; gives the id."""
    hyperparameters = runs.DRAWN | {"epochs": changes.pop("epochs", 5)}
    problem_id = scenes.keep_problem(system, runs.PROBLEM)
    asked = scenes.request(problem_id, hyperparameters=hyperparameters, device=device, **changes)
    return submission.submit(system, system.dispatcher, scenes.TENANT, asked, None).id


def stage(system: System, job_id: str) -> str:
    return scenes.job(system, job_id).stage


def waits_for_a_gpu(system: System, job_id: str) -> bool:
    return stage(system, job_id) == "no_gpu_worker"


def listed(system: System) -> dict[str, dict[str, Any]]:
    """Give what /v1/workers says of the workers on each device."""
    return {worker["device"]: worker for worker in health.list_workers(system, scenes.TENANT)["data"]}


def refusal(system: System, variables: dict[str, str]) -> str:
    """Start a worker that will not have it; gives its sentence."""
    environment = {**system.settings.environment(), "L0_STOP_SECONDS": "0.2", **variables}
    done = subprocess.run(
        [sys.executable, "-m", "worker"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_gpu_job_waits_runs_where_a_card_is_and_the_next_one_waits_again(system: System, cards: Cards) -> None:
    job_id = asked_for(system)
    assert waits_for_a_gpu(system, job_id)
    with workers(system, 1, name="cpu"):
        until(lambda: "cpu" in listed(system))
        with workers(system, 1, name="gpu", variables=with_card(cards)) as (worker,):
            until(lambda: has_succeeded(system, job_id))
            assert submission.resolve_device(system, "auto") == "cuda"
            shown = listed(system)["cuda:0"]
            assert (shown["queues"], shown["kinds"]) == (["gpu"], versions_of(KINDS))
            on_cpu = asked_for(system, "cpu")
            until(lambda: has_succeeded(system, on_cpu))
            assert "another worker of this machine has the card cuda:0" in refusal(system, with_card(cards))
            assert not loaded(worker, "torch")
            left = asked_for(system, epochs=runs.ENDLESS, checkpoint_every=1000)
            holder(system, left, [worker])
            assert (listed(system)["cuda:0"]["jobs"], listed(system)["cpu"]["busy"]) == ([left], False)
        assert submission.resolve_device(system, "auto") == "cpu"
        assert waits_for_a_gpu(system, left)
        assert scenes.job(system, left).status == "running"
        assert waits_for_a_gpu(system, asked_for(system))
    events = scenes.events(system, job_id)
    workers_of = {event.data["worker"] for event in events if event.type == "started"}
    assert workers_of == {shown["id"]}


def loaded(worker: WorkerProcess, package: str) -> bool:
    """Say whether a process has mapped a shared object of the package."""
    return f"/site-packages/{package}/" in Path(f"/proc/{worker.popen.pid}/maps").read_text(encoding="utf-8")


def ended(worker: WorkerProcess) -> int:
    """Wait until a worker has ended of itself; gives its exit code."""
    until(lambda: worker.popen.poll() is not None)
    return int(worker.popen.returncode)


def test_a_card_that_is_gone_before_a_job_costs_no_attempt_and_ends_its_worker(system: System, cards: Cards) -> None:
    with workers(system, 1, variables=with_card(cards)) as (worker,):
        until(lambda: listed(system))
        cards.take_out()
        job_id = asked_for(system, max_attempts=1)
        assert ended(worker) == 69
    assert '"card_lost"' in worker.log.read_text()
    job = scenes.job(system, job_id)
    assert (job.status, job.attempt, job.stage) == ("running", 0, "no_gpu_worker")
    assert "the card cuda:0 is not there" in next(
        event.message for event in scenes.events(system, job_id) if event.type == "given_back"
    )
    assert "refusing to start: the card cuda:0 is not there" in refusal(system, with_card(cards))
    cards.put_in("cuda:0")
    with workers(system, 1, variables=with_card(cards)):
        until(lambda: has_succeeded(system, job_id))
    assert scenes.job(system, job_id).attempt == 1
