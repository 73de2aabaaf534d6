"""Workers killed, told to end, and left behind: the job ends once, with the result of an undisturbed run."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from service.jobs.models import Metric
from service.system import System
from tests.faults.processes import holder, workers
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def has_succeeded(system: System, job_id: str) -> bool:
    job = scenes.job(system, job_id)
    assert job.status in {"pending", "running", "succeeded"}, job.error
    return job.status == "succeeded"


def assert_undisturbed(system: System, job_id: str) -> None:
    """Compare weights bit by bit, and the loss curve step by step, with a run nothing came in between of."""
    expected = runs.undisturbed()
    assert np.array_equal(runs.weights(system, job_id), expected.weights)
    with system.database.reading() as session:
        mine = select(Metric.step, Metric.value).where(Metric.job_id == job_id, Metric.key == "loss")
        curve = [(step, value) for step, value in session.execute(mine.order_by(Metric.step))]
    assert curve == list(zip(expected.history.steps, expected.history.metrics["loss"], strict=True))
    numbers = [event.seq for event in scenes.events(system, job_id)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_job_of_a_killed_worker_goes_on_elsewhere_from_its_checkpoint(system: System) -> None:
    with workers(system, 2) as both:
        job_id = runs.submitted(system)
        killed, engine = holder(system, job_id, both)
        with runs.held_in_mid_run(system, job_id, engine) as reached:
            killed.popen.kill()
        until(lambda: has_succeeded(system, job_id))
    assert 0 < reached < runs.EPOCHS
    assert scenes.job(system, job_id).attempt == 2
    assert scenes.event_types(system, job_id).count("started") == 2
    assert runs.is_gone(engine)
    assert_undisturbed(system, job_id)
    survivor = next(worker for worker in both if worker is not killed)
    assert survivor.popen.returncode == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_job_of_a_worker_that_is_told_to_end_goes_on_elsewhere_at_once(system: System) -> None:
    with workers(system, 2) as both:
        job_id = runs.submitted(system, max_attempts=1)
        told, engine = holder(system, job_id, both)
        with runs.held_in_mid_run(system, job_id, engine):
            told.popen.terminate()
        assert told.popen.wait() == 0
        until(lambda: has_succeeded(system, job_id))
    assert scenes.job(system, job_id).attempt == 1
    types = scenes.event_types(system, job_id)
    assert (types.count("given_back"), types.count("started"), types.count("worker_lost")) == (1, 2, 0)
    assert_undisturbed(system, job_id)
    assert runs.leftovers(system) == []


@on_sqlite
def test_a_killed_worker_takes_its_engine_with_it(system: System) -> None:
    with workers(system, 1) as (worker,):
        job_id = runs.submitted(system, epochs=runs.ENDLESS)
        _, engine = holder(system, job_id, [worker])
        worker.popen.kill()
        until(lambda: runs.is_gone(engine))
    assert scenes.job(system, job_id).status == "running"


@on_sqlite
def test_a_killed_worker_s_temporary_files_are_cleared_away(system: System) -> None:
    with workers(system, 1) as (worker,):
        job_id = runs.submitted(system, epochs=5)
        until(lambda: runs.leftovers(system))
        worker.popen.kill()
    scenes.expire(system, job_id)
    runs.executed(system, job_id)
    assert scenes.job(system, job_id).status == "succeeded"
    assert runs.leftovers(system) == []


@on_sqlite
def test_the_temporary_files_of_a_last_attempt_are_cleared_away(system: System) -> None:
    with workers(system, 1) as (worker,):
        job_id = runs.submitted(system, epochs=5, max_attempts=1)
        until(lambda: runs.leftovers(system))
        worker.popen.kill()
    scenes.expire(system, job_id)
    with workers(system, 1):
        until(lambda: scenes.job(system, job_id).status == "failed")
        following = runs.submitted(system, epochs=5)
        until(lambda: has_succeeded(system, following))
    assert runs.leftovers(system) == []


@on_sqlite
def test_a_worker_that_was_frozen_while_another_took_over_writes_nothing(system: System) -> None:
    with workers(system, 2) as both:
        job_id = runs.submitted(system)
        frozen, engine = holder(system, job_id, both)
        with runs.held_in_mid_run(system, job_id, engine):
            runs.stand_still(frozen.process, lambda: can_be_written(system))
            until(lambda: has_succeeded(system, job_id))
            after = scenes.values_of(scenes.job(system, job_id)), scenes.event_types(system, job_id)
            frozen.process.resume()
        until(lambda: runs.is_gone(engine))
        until(lambda: "lease_lost" in frozen.log.read_text() or "attempt_ended" in frozen.log.read_text())
    assert frozen.popen.returncode == 0
    assert (scenes.values_of(scenes.job(system, job_id)), scenes.event_types(system, job_id)) == after
    assert scenes.job(system, job_id).attempt == 2
    assert_undisturbed(system, job_id)


@on_sqlite
def test_a_short_job_does_not_wait_behind_a_long_one(system: System) -> None:
    with workers(system, 2) as both:
        long = runs.submitted(system, epochs=runs.ENDLESS)
        holder(system, long, both)
        short = [runs.submitted(system, epochs=5) for _ in range(2)]
        until(lambda: all(has_succeeded(system, job_id) for job_id in short))
        assert scenes.job(system, long).status == "running"


@on_sqlite
def test_an_id_delivered_many_times_is_one_attempt(system: System) -> None:
    with workers(system, 2) as both:
        job_id = runs.submitted(system)
        for _ in range(3):
            assert system.queue.publish(job_id, "cpu")
        until(lambda: has_succeeded(system, job_id))
        until(lambda: refusals([worker.log for worker in both]) == 3)
    assert scenes.job(system, job_id).attempt == 1
    assert scenes.event_types(system, job_id).count("started") == 1
    assert_undisturbed(system, job_id)


def can_be_written(system: System) -> bool:
    """Say whether nobody stands in the middle of a writing transaction."""
    with closing(sqlite3.connect(system.settings.data_dir / "l0.db", timeout=0, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        database.execute("ROLLBACK")
    return True


def refusals(logs: list[Path]) -> int:
    """Count the deliveries that found the job taken."""
    return sum(log.read_text().count('"job_not_claimed"') for log in logs)
