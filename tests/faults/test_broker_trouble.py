"""A broker that delivers twice, cuts connections or restarts empty: one attempt, and the API says how it stands."""

import sys
from functools import partial

import pytest

from service.auth.guard import ANONYMOUS_TENANT
from service.jobs.workers import workers_seen
from service.system import System
from tests.faults.processes import Broker, holder, running_worker, workers
from tests.faults.test_workers_killed import assert_undisturbed, has_succeeded, refusals
from tests.service.api.door import Door, open_door
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
IMPATIENT = """
from service.jobs import queue
queue._TRANSPORT |= {"visibility_timeout": 2}
from worker.__main__ import main
main()
"""


def is_ready(door: Door) -> bool:
    return door.http.get("/readyz").status_code == 200


@on_sqlite
def test_a_message_seen_too_long_ago_by_the_broker_s_clock_starts_no_second_copy(
    own_system: System, broker: Broker
) -> None:
    """R1: the visibility timeout is far shorter than the job, and the id comes again besides."""
    command = [sys.executable, "-c", IMPATIENT]
    with running_worker(own_system, "one", command) as one, running_worker(own_system, "two", command) as two:
        job_id = runs.submitted(own_system)
        _, engine = holder(own_system, job_id, [one, two])
        with runs.held_in_mid_run(own_system, job_id, engine):
            until(partial(shown_for, own_system, 6.0))
            assert own_system.queue.publish(job_id, "cpu")
            until(lambda: refusals([one.log, two.log]) >= 1)
        until(lambda: has_succeeded(own_system, job_id))
    assert scenes.job(own_system, job_id).attempt == 1
    assert scenes.event_types(own_system, job_id).count("started") == 1
    assert_undisturbed(own_system, job_id)


def shown_for(system: System, seconds: float) -> bool:
    """Say whether the database's clock is that far from the first moment of this question."""
    began = system.settings.data_dir / "began"
    if not began.exists():
        began.write_text(str(scenes.now(system)))
    return scenes.now(system) - float(began.read_text()) > seconds


def test_a_job_does_not_notice_that_its_worker_lost_the_broker(own_system: System, broker: Broker) -> None:
    """R10: every connection to the broker is cut in mid-run, more than once."""
    with workers(own_system, 2) as both:
        job_id = runs.submitted(own_system)
        _, engine = holder(own_system, job_id, both)
        with runs.held_in_mid_run(own_system, job_id, engine):
            for _ in range(3):
                broker.cut_all_connections()
        until(lambda: has_succeeded(own_system, job_id))
        following = runs.submitted(own_system, epochs=5)
        until(lambda: has_succeeded(own_system, following))
    assert scenes.job(own_system, job_id).attempt == 1
    assert_undisturbed(own_system, job_id)


@on_sqlite
def test_a_broker_that_restarts_empty_costs_time_and_no_job(own_system: System, broker: Broker) -> None:
    """R8 and R9: one job runs and two wait; readiness goes red and green; a job is accepted in between."""
    problem_id = scenes.keep_problem(own_system, runs.PROBLEM, tenant=ANONYMOUS_TENANT)
    with open_door(own_system.settings) as door, workers(own_system, 1) as (worker,):
        until(lambda: is_ready(door))
        running = runs.submitted(own_system)
        _, engine = holder(own_system, running, [worker])
        with runs.held_in_mid_run(own_system, running, engine):
            waiting = [runs.submitted(own_system, epochs=5) for _ in range(2)]
            broker.forget_everything()
            broker.kill()
            until(lambda: not is_ready(door))
            waiting.append(door.job(problem_id, hyperparameters={"epochs": 5})["id"])
            broker.start()
            until(lambda: is_ready(door))
        until(lambda: all(has_succeeded(own_system, job_id) for job_id in [running, *waiting]))
    assert [scenes.job(own_system, job_id).attempt for job_id in [running, *waiting]] == [1, 1, 1, 1]
    assert_undisturbed(own_system, running)


@on_sqlite
def test_a_worker_that_is_told_to_end_ends_although_the_broker_is_away(own_system: System, broker: Broker) -> None:
    with workers(own_system, 1) as (worker,):
        until(lambda: is_seen(own_system))
        broker.kill()
        worker.popen.terminate()
        assert worker.popen.wait(60) is not None


def is_seen(system: System) -> bool:
    with system.database.reading() as session:
        return bool(workers_seen(session, 60.0))
