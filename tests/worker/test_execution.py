"""Attempts for real: a job, a database, a child process with the engine, and everything that may come in between."""

import hashlib
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sqlalchemy import select, update
from structlog.testing import capture_logs

from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.run import run
from l0core.checkpoint import Identity
from l0core.context import CheckpointPolicy, RunContext
from l0core.kinds import KINDS
from service.db.base import database_now
from service.jobs import curves, lifecycle, repository, traces
from service.jobs.models import Job, Metric, TargetRow
from service.jobs.values import Batch, CheckpointRef
from service.system import System
from tests.problems import explosive
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs
from worker.identity import versions

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TOO_LARGE_A_STEP = {"learning_rate": 10.0, "learning_rate_schedule": "constant", "gradient": "sampled"}


@pytest.fixture
def hasty(tidy: System) -> System:
    """A system that gives an engine no time to stop."""
    return replace(tidy, settings=tidy.settings.model_copy(update={"stop_seconds": 0.2}))


def error_code(system: System, job_id: str) -> str:
    error = scenes.job(system, job_id).error
    assert error is not None
    return str(error["code"])


def steps(system: System, job_id: str) -> list[int]:
    with system.database.reading() as session:
        query = select(Metric.step).where(Metric.job_id == job_id, Metric.key == "loss").order_by(Metric.step)
        return list(session.scalars(query))


def test_a_job_runs_to_its_end_and_leaves_everything_it_should(tidy: System) -> None:
    worker = replace(scenes.WORKER, versions=versions())
    job_id = runs.submitted(tidy)
    with runs.attempt(tidy, job_id, worker):
        expected = runs.undisturbed()
    job = scenes.job(tidy, job_id)
    assert (job.status, job.attempt, job.error, job.versions) == ("succeeded", 1, None, versions())
    assert job.summary == expected.summary
    assert job.progress["epoch"] == job.progress["epochs"] == runs.EPOCHS
    assert np.array_equal(runs.weights(tidy, job_id), expected.weights)
    with tidy.database.reading() as session:
        listed = traces.artifacts(session, job_id)
        rows = list(session.scalars(select(TargetRow).order_by(TargetRow.index)))
        keys = curves.metric_keys(session, job_id)
    assert [row.name for row in listed] == sorted(KINDS["calibration"].artifacts)
    assert all(runs.is_whole(tidy, row) for row in listed)
    assert [(row.name, row.estimate) for row in rows] == [
        (row["name"], row["estimate"]) for row in expected.target_rows()
    ]
    assert keys == sorted(KINDS["calibration"].curves)
    assert steps(tidy, job_id) == expected.history.steps
    types = scenes.event_types(tidy, job_id)
    assert types[:2] == ["submitted", "started"]
    assert types[-1] == "succeeded"


def test_a_job_that_is_not_to_be_had_is_left_alone(tidy: System) -> None:
    held = scenes.claimed(tidy, runs.submitted(tidy))
    before = scenes.values_of(scenes.job(tidy, held.job_id))
    runs.executed(tidy, held.job_id)
    runs.executed(tidy, "job_nobody")
    assert scenes.values_of(scenes.job(tidy, held.job_id)) == before


def test_a_running_job_that_is_cancelled_stops_with_a_checkpoint(tidy: System) -> None:
    job_id = runs.submitted(tidy, epochs=runs.ENDLESS)
    with runs.attempt(tidy, job_id):
        until(lambda: runs.latest_checkpoint(tidy, job_id))
        scenes.cancel(tidy, job_id)
    job, told = scenes.job(tidy, job_id), scenes.event_types(tidy, job_id)
    assert (job.status, job.attempt) == ("cancelled", 1)
    assert told[-1] == "cancelled"
    assert "checkpoint" in told[told.index("cancel_requested") :]  # of its own accord, not killed
    checkpoint = runs.latest_checkpoint(tidy, job_id)
    assert checkpoint is not None
    assert runs.is_whole(tidy, checkpoint)


def test_an_engine_that_does_not_stop_is_killed(hasty: System) -> None:
    job_id = runs.submitted(hasty)
    with runs.attempt(hasty, job_id) as attempt:
        attempt.engine.send_signal(signal.SIGSTOP)
        scenes.cancel(hasty, job_id)
    assert scenes.job(hasty, job_id).status == "cancelled"
    assert runs.is_gone(attempt.engine)


def test_a_job_past_its_deadline_is_stopped(hasty: System) -> None:
    runs.executed(hasty, runs.submitted(hasty, epochs=1))  # with its engines loaded: the deadline is shorter than that
    job_id = runs.submitted(hasty, deadline_seconds=1.0)
    with runs.attempt(hasty, job_id) as attempt:
        attempt.engine.send_signal(signal.SIGSTOP)
    job = scenes.job(hasty, job_id)
    assert (job.status, job.attempt, error_code(hasty, job_id)) == ("failed", 1, "deadline_exceeded")
    assert runs.is_gone(attempt.engine)


def test_a_drained_job_is_given_back_and_goes_on_as_if_nothing_had_been(tidy: System) -> None:
    job_id = runs.submitted(tidy, max_attempts=1)
    with capture_logs() as logged, runs.attempt(tidy, job_id) as attempt, attempt.held_in_mid_run():
        attempt.draining.set()
        until(lambda: "stop_asked" in [line["event"] for line in logged])
    job, checkpoint = scenes.job(tidy, job_id), runs.latest_checkpoint(tidy, job_id)
    assert (job.status, job.attempt, job.lease_token) == ("running", 0, None)
    assert scenes.event_types(tidy, job_id)[-1] == "given_back"
    assert scenes.sent(tidy) == [job_id, job_id]
    assert checkpoint is not None
    assert 0 < checkpoint.epoch < runs.EPOCHS
    with runs.attempt(tidy, job_id, scenes.OTHER_WORKER):
        expected = runs.undisturbed()
    job = scenes.job(tidy, job_id)
    assert (job.status, job.attempt) == ("succeeded", 1)
    assert np.array_equal(runs.weights(tidy, job_id), expected.weights)
    assert steps(tidy, job_id) == expected.history.steps


def test_a_job_whose_engine_was_killed_goes_on_from_its_checkpoint(tidy: System) -> None:
    job_id = runs.submitted(tidy)
    with runs.attempt(tidy, job_id) as attempt, attempt.held_in_mid_run() as reached:
        attempt.engine.kill()
    assert 0 < reached < runs.EPOCHS
    job = scenes.job(tidy, job_id)
    assert (job.status, job.attempt, job.error) == ("running", 1, None)
    assert scenes.events(tidy, job_id)[-1].data == {"code": "worker_lost"}
    with runs.attempt(tidy, job_id):
        expected = runs.undisturbed()
    job = scenes.job(tidy, job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)
    assert np.array_equal(runs.weights(tidy, job_id), expected.weights)
    assert steps(tidy, job_id) == expected.history.steps
    with tidy.database.reading() as session:
        firsts = session.scalars(select(Metric.step).where(Metric.key == "loss").order_by(Metric.step))
        assert list(firsts) == expected.history.steps


def test_a_job_whose_engine_is_killed_each_time_fails_and_the_next_one_runs(tidy: System) -> None:
    job_id = runs.submitted(tidy)
    for _ in range(3):
        with runs.attempt(tidy, job_id) as attempt:
            attempt.engine.kill()
    job = scenes.job(tidy, job_id)
    assert (job.status, job.attempt, error_code(tidy, job_id)) == ("failed", 3, "worker_lost")
    happened = [kind for kind in scenes.event_types(tidy, job_id)[1:] if kind != "stage"]  # if it got so far
    assert happened == ["started", "attempt_failed"] * 2 + ["started", "failed"]
    following = runs.submitted(tidy, epochs=5)
    runs.executed(tidy, following)
    assert scenes.job(tidy, following).status == "succeeded"


@on_sqlite
def test_an_engine_killed_while_it_stores_leaves_nothing(tidy: System) -> None:
    job_id = runs.submitted(tidy, epochs=runs.ENDLESS, checkpoint_every=1)
    with runs.attempt(tidy, job_id) as attempt:
        until(lambda: runs.latest_checkpoint(tidy, job_id))
        runs.stand_still(attempt.engine, lambda: bool(runs.staged(tidy)))
        attempt.engine.kill()
    assert runs.leftovers(tidy) == []


@on_sqlite
def test_a_run_that_diverges_fails_and_says_when(tidy: System) -> None:
    hyperparameters = TOO_LARGE_A_STEP | {"epochs": 300, "loss": "squared"}
    job_id = runs.submitted(tidy, problem=explosive(), hyperparameters=hyperparameters)
    runs.executed(tidy, job_id)
    job = scenes.job(tidy, job_id)
    assert (job.status, job.attempt, error_code(tidy, job_id)) == ("failed", 1, "diverged")
    assert job.error is not None
    assert "lower learning_rate (now 10)" in job.error["detail"]


@on_sqlite
def test_a_budget_beyond_the_candidates_fails_and_points_at_it(tidy: System) -> None:
    job_id = runs.submitted(tidy, hyperparameters={"record_budget": 61, "epochs": 5})
    runs.executed(tidy, job_id)
    job = scenes.job(tidy, job_id)
    assert (job.status, job.attempt, error_code(tidy, job_id)) == ("failed", 1, "infeasible_budget")
    assert job.error is not None
    assert job.error["errors"][0]["pointer"] == "/hyperparameters/record_budget"


@on_sqlite
def test_a_job_outlives_a_database_that_is_locked_for_a_while(tidy: System, tmp_path: Path) -> None:
    job_id = runs.submitted(tidy)
    with runs.attempt(tidy, job_id) as attempt, closing(sqlite3.connect(tmp_path / "l0.db")) as other:
        with attempt.held_in_mid_run():
            other.execute("BEGIN EXCLUSIVE")
        time.sleep(5)  # longer than the lease of 3 s
        other.rollback()
    job = scenes.job(tidy, job_id)
    assert (job.status, job.attempt) == ("succeeded", 1)
    assert steps(tidy, job_id) == runs.undisturbed().history.steps


def test_who_lost_the_lease_kills_the_engine_and_writes_nothing(tidy: System) -> None:
    job_id = runs.submitted(tidy, epochs=runs.ENDLESS)
    with runs.attempt(tidy, job_id) as attempt:
        until(lambda: runs.latest_checkpoint(tidy, job_id))
        engine = attempt.engine
        with tidy.database.transaction() as session:
            past = update(Job).where(Job.id == job_id).values(lease_expires_at=database_now() - 1.0)
            session.execute(past)
            held = lifecycle.claim(session, job_id, scenes.OTHER_WORKER, KINDS, scenes.LEASE)
        before = scenes.values_of(scenes.job(tidy, job_id)), len(scenes.events(tidy, job_id)), steps(tidy, job_id)
    assert runs.is_gone(engine)
    assert held is not None
    assert scenes.job(tidy, job_id).lease_token == held.token
    after = scenes.values_of(scenes.job(tidy, job_id)), len(scenes.events(tidy, job_id)), steps(tidy, job_id)
    assert after == before


@pytest.fixture
def interrupted(system: System, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A lost job with one checkpoint after 200 of its epochs; gives its id and the checkpoint's file."""
    policy = CheckpointPolicy(folder=tmp_path / "made", every_epochs=runs.EVERY_EPOCHS)
    hyperparameters = CalibrationHyperparameters(**runs.DRAWN, epochs=runs.EPOCHS)

    def enough() -> bool:
        return policy.path.exists()

    context = RunContext(seed=runs.SEED, checkpoints=policy, should_stop=enough)
    run(runs.PROBLEM, hyperparameters, context)
    job_id = runs.submitted(system)
    list_checkpoint(system, job_id, policy.path)
    yield job_id, policy.path
    assert runs.leftovers(system) == []


def list_checkpoint(system: System, job_id: str, path: Path, name: str = "one") -> None:
    """Store a checkpoint and list it, as an attempt that is lost then does."""
    held = scenes.claimed(system, job_id)
    key, body = f"jobs/{job_id}/{name}", path.read_bytes()
    system.store.put(key, path)
    ref = CheckpointRef(
        epoch=runs.EVERY_EPOCHS, storage_key=key, sha256=hashlib.sha256(body).hexdigest(), size_bytes=len(body)
    )
    scenes.report(system, held, Batch(checkpoints=[ref]))
    scenes.give_back(system, held)


@on_sqlite
def test_a_torn_checkpoint_costs_no_job(system: System, interrupted: tuple[str, Path]) -> None:
    job_id, _ = interrupted
    stored = runs.latest_checkpoint(system, job_id)
    assert stored is not None
    file = system.settings.storage / stored.storage_key
    file.write_bytes(file.read_bytes()[:-1])
    runs.executed(system, job_id)
    assert scenes.job(system, job_id).status == "succeeded"


@on_sqlite
def test_a_checkpoint_that_is_gone_costs_no_job(system: System, interrupted: tuple[str, Path]) -> None:
    job_id, _ = interrupted
    stored = runs.latest_checkpoint(system, job_id)
    assert stored is not None
    system.store.delete(stored.storage_key)
    runs.executed(system, job_id)
    assert scenes.job(system, job_id).status == "succeeded"


@on_sqlite
def test_a_job_outlives_a_new_version_of_the_engine(system: System, interrupted: tuple[str, Path]) -> None:
    job_id, path = interrupted
    age(path)
    list_checkpoint(system, job_id, path, "aged")
    runs.executed(system, job_id)
    assert scenes.job(system, job_id).status == "succeeded"


def age(path: Path) -> None:
    """Let a checkpoint be an older engine's."""
    with safe_open(path, framework="np") as file:
        header: dict[str, Any] = file.metadata()
    identity = Identity.model_validate_json(header["identity"]).model_copy(update={"engine": "0.0.1"})
    save_file(load_file(path), path, metadata=header | {"identity": identity.model_dump_json()})


def test_the_kinds_of_this_worker_are_all_it_claims(tidy: System) -> None:
    job_id = scenes.submitted(tidy, kind="unheard_of")
    runs.executed(tidy, job_id)
    with tidy.database.reading() as session:
        job = repository.job_by_id(session, job_id)
    assert job is not None
    assert (job.status, job.attempt) == ("pending", 0)
