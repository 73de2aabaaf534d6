"""The broker forgets everything, or dies: what was accepted runs all the same."""

from functools import partial

import pytest

from service.jobs import workers as seen
from service.system import System
from tests.faults.processes import Broker, holder, workers
from tests.faults.test_workers_killed import has_succeeded
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def two_rounds(system: System) -> None:
    """Wait until the reaper has been round twice more."""
    for _ in range(2):
        until(partial(shown_since, system, last_sign(system)))


def shown_since(system: System, last: float) -> bool:
    """Say whether a worker has shown again that it lives."""
    return last_sign(system) > last


def last_sign(system: System) -> float:
    """Give when a worker showed last that it lives."""
    with system.database.reading() as session:
        return max((worker.seen_at.timestamp() for worker in seen.workers_seen(session, 600.0)), default=0.0)


@on_sqlite
def test_jobs_run_although_the_broker_has_forgotten_them(own_system: System, broker: Broker) -> None:
    with workers(own_system, 1) as (worker,):
        running = runs.submitted(own_system)
        _, engine = holder(own_system, running, [worker])
        with runs.held_in_mid_run(own_system, running, engine):
            queued = runs.submitted(own_system, epochs=5)
            broker.forget_everything()
        until(lambda: has_succeeded(own_system, running) and has_succeeded(own_system, queued))
    assert [scenes.job(own_system, job_id).attempt for job_id in (running, queued)] == [1, 1]


@on_sqlite
def test_jobs_run_although_the_broker_was_away(own_system: System, broker: Broker) -> None:
    with workers(own_system, 1) as (worker,):
        running = runs.submitted(own_system)
        _, engine = holder(own_system, running, [worker])
        with runs.held_in_mid_run(own_system, running, engine):
            queued = runs.submitted(own_system, epochs=5)
            broker.forget_everything()
            broker.kill()
            scenes.published_long_ago(own_system, queued)
            two_rounds(own_system)
            broker.start()
        until(lambda: has_succeeded(own_system, running) and has_succeeded(own_system, queued))
