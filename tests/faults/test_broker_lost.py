"""The broker forgets everything, or dies: what was accepted runs all the same."""

import pytest

from service.system import System
from tests.faults.processes import Broker, holder, workers
from tests.faults.test_workers_killed import has_succeeded
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

SOME_ROUNDS_SECONDS = 15.0
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


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
            until(lambda: '"publish_failed"' in worker.log.read_text(), SOME_ROUNDS_SECONDS)
            broker.start()
        until(lambda: has_succeeded(own_system, running) and has_succeeded(own_system, queued))
