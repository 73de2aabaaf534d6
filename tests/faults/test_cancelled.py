"""Cancelling, in whatever state a job and its workers are: it ends cancelled, and what its checkpoints hold stays."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from l0core.arrays import FloatArray
from l0core.calibration.partial import weights_in
from service.auth.guard import ANONYMOUS_TENANT
from service.settings import Settings
from tests.faults.processes import holder, workers
from tests.service.api.door import Door, called_here, job_body, refused
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def door(settings: Settings) -> Iterator[Door]:
    """The API in this process; the workers are processes of their own."""
    with called_here(settings) as opened:
        yield opened


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A job, as its client sees it."""

    door: Door
    id: str

    @property
    def url(self) -> str:
        """Where it is."""
        return f"/v1/jobs/{self.id}"

    def state(self) -> dict[str, Any]:
        """Give the job as it is."""
        state: dict[str, Any] = self.door.http.get(self.url).json()
        return state

    def is_cancelled(self) -> bool:
        """Say whether it has ended so; it must not end otherwise."""
        status = self.state()["status"]
        assert status in {"running", "cancelled"}
        return bool(status == "cancelled")

    def cancel(self) -> httpx.Response:
        """Ask for its end."""
        return self.door.http.post(f"{self.url}/cancel")

    def events(self) -> list[str]:
        """Give the types of its events."""
        return scenes.event_types(self.door.system, self.id)

    def checkpoints(self) -> list[dict[str, Any]]:
        """Give those that are listed."""
        listed: list[dict[str, Any]] = self.door.http.get(f"{self.url}/checkpoints").json()["data"]
        return listed

    def latest_weights(self) -> FloatArray:
        """Give what it says its last checkpoint holds."""
        query: dict[str, Any] = {"checkpoint": "latest", "active_only": False}
        reply = self.door.http.get(f"{self.url}/weights", params=query)
        assert reply.status_code == 200, reply.text
        return np.array(reply.json()["values"])

    def stored_weights(self) -> FloatArray:
        """Give what the engine wrote into it."""
        stored = runs.latest_checkpoint(self.door.system, self.id)
        assert stored is not None
        assert runs.is_whole(self.door.system, stored)
        with self.door.system.store.local(stored.storage_key) as path:
            return weights_in(path)


def submitted(door: Door, *, epochs: int = runs.ENDLESS) -> Submitted:
    """Submit a long job through the door."""
    problem_id = scenes.keep_problem(door.system, runs.PROBLEM, tenant=ANONYMOUS_TENANT)
    body = job_body(
        problem_id,
        hyperparameters=runs.DRAWN | {"epochs": epochs},
        seed=runs.SEED,
        checkpoint_every=runs.EVERY_EPOCHS,
        device="cpu",
    )
    return Submitted(door=door, id=door.http.post("/v1/jobs", json=body).json()["id"])


def assert_what_it_has_is_to_be_had(job: Submitted) -> None:
    """See that an ended job has no result, and gives what its last checkpoint holds."""
    refused(job.door.http.get(f"{job.url}/weights"), 409, "result_not_ready", says="is cancelled")
    weights = job.latest_weights()
    assert weights.any()
    assert weights.tobytes() == job.stored_weights().tobytes()
    totals = job.door.http.get(f"{job.url}/predictions", params={"checkpoint": "latest"}).json()["values"]
    np.testing.assert_allclose(totals, runs.PROBLEM.matrix @ weights, rtol=1e-12)


@on_sqlite
def test_a_job_cancelled_while_it_waits_never_starts_although_the_broker_has_its_id(door: Door) -> None:
    job = submitted(door)
    assert (job.cancel().status_code, job.cancel().status_code) == (202, 200)
    assert scenes.sent(door.system) == [job.id]
    following = submitted(door, epochs=5)
    with workers(door.system, 1) as (worker,):
        until(lambda: following.state()["status"] == "succeeded")
        assert '"job_not_claimed"' in worker.log.read_text()
    assert (job.state()["status"], job.state()["attempt"], job.state()["started_at"]) == ("cancelled", 0, None)
    assert job.events() == ["submitted", "cancelled"]
    refused(following.cancel(), 409, "job_already_terminal", says="has already succeeded")


def test_a_running_job_stops_of_its_own_accord_and_what_it_has_is_to_be_had(door: Door) -> None:
    job = submitted(door)
    with workers(door.system, 1) as (worker,):
        _, engine = holder(door.system, job.id, [worker])
        with runs.held_in_mid_run(door.system, job.id, engine):
            first, again = job.cancel(), job.cancel()
            assert (first.status_code, first.json()["status"]) == (202, "running")
            assert (again.status_code, again.json()["status"]) == (202, "running")
            assert first.json()["cancel_requested_at"] == again.json()["cancel_requested_at"] is not None
        until(job.is_cancelled)
        assert "child_killed" not in worker.log.read_text()
    assert job.cancel().status_code == 200
    told = job.events()
    assert told.count("cancel_requested") == told.count("cancelled") == 1
    assert "checkpoint" in told[told.index("cancel_requested") :]
    assert runs.is_gone(engine)
    assert_what_it_has_is_to_be_had(job)


@pytest.fixture
def hasty(settings: Settings) -> Iterator[Door]:
    """An API whose workers give an engine no time to stop."""
    with called_here(settings.model_copy(update={"stop_seconds": 0.5})) as opened:
        yield opened


@on_sqlite
def test_an_engine_that_hears_nothing_is_killed_and_its_last_checkpoint_stays(hasty: Door) -> None:
    job = submitted(hasty)
    with workers(hasty.system, 1) as (worker,):
        _, engine = holder(hasty.system, job.id, [worker])
        with runs.held_in_mid_run(hasty.system, job.id, engine) as reached:
            job.cancel()
            until(job.is_cancelled)
        assert runs.is_gone(engine)
        assert "child_killed" in worker.log.read_text()
    assert job.checkpoints()[0]["epoch"] >= reached  # one that was stored before may have been listed since
    assert_what_it_has_is_to_be_had(job)
    assert runs.leftovers(hasty.system) == []


@contextmanager
def killed_in_mid_run(door: Door, job: Submitted) -> Iterator[psutil.Process]:
    """Run a worker and hold its engine in the middle of the job; the worker is killed at the end."""
    with workers(door.system, 1) as (worker,):
        _, engine = holder(door.system, job.id, [worker])
        with runs.held_in_mid_run(door.system, job.id, engine):
            yield engine
            worker.popen.kill()
            worker.popen.wait()


@pytest.mark.parametrize(
    ("database_url", "asked"),
    [("sqlite", "before they die"), ("postgresql", "while there are none")],
    indirect=["database_url"],
)
def test_a_job_cancelled_while_all_workers_are_replaced_ends_cancelled(door: Door, asked: str) -> None:
    job = submitted(door)
    with killed_in_mid_run(door, job) as engine:
        if asked == "before they die":
            assert job.cancel().status_code == 202
    if asked == "while there are none":
        assert job.cancel().status_code == 202
    with workers(door.system, 1):
        until(job.is_cancelled)
    assert runs.is_gone(engine)
    assert job.state()["attempt"] == job.events().count("started") == 1
    assert job.cancel().status_code == 200
    assert_what_it_has_is_to_be_had(job)
