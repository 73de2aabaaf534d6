"""Two releases side by side: real processes, some of which pretend to be of the next one."""

import pytest
from sqlalchemy import delete

from service.jobs.models import Worker
from service.jobs.workers import workers_seen
from service.system import System
from tests.faults.pretending import of_a_later_release
from tests.faults.processes import WorkerProcess, workers
from tests.faults.test_broker_lost import two_rounds
from tests.faults.test_workers_killed import has_succeeded
from tests.service.api.door import job_body, open_door, problem_body
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

NEW = {"sharpness": 2.0}  # a hyperparameter that the present release refuses


def said(worker: WorkerProcess, reason: str) -> bool:
    return reason in worker.log.read_text()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_of_a_new_api_waits_while_all_workers_are_old_and_runs_once_a_new_one_is_there(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workers(system, 2, name="old") as old:
        until(lambda: len(seen(system)) == 2)
        job_id = submitted_to_a_new_api(system, monkeypatch)
        assert scenes.job(system, job_id).stage == "no_worker_for_kind"
        system.queue.publish(job_id, "cpu")  # as nobody should
        until(lambda: any(said(worker, "calibration version 2; this worker knows") for worker in old))
        scenes.published_long_ago(system, job_id)
        two_rounds(system)
        job = scenes.job(system, job_id)
        assert (job.status, job.attempt, job.error, job.kind_version) == ("pending", 0, None, 2)
        assert scenes.event_types(system, job_id) == ["submitted", "waiting"]
        assert len(scenes.sent(system, "cpu.calibration.2")) == 1
        with workers(system, 1, name="new", variables=of_a_later_release()):
            until(lambda: has_succeeded(system, job_id))
            first = runs.submitted(system, epochs=5)
            until(lambda: has_succeeded(system, first))
    assert scenes.job(system, job_id).attempt == 1


def seen(system: System) -> list[str]:
    with system.database.reading() as session:
        return [worker.id for worker in workers_seen(session, 60.0)]


def submitted_to_a_new_api(system: System, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as later:
        for name, value in of_a_later_release().items():
            later.setenv(name, value)
        with open_door(system.settings) as door:
            problem = door.http.post("/v1/problems", json=problem_body()).json()
            body = job_body(problem["id"], hyperparameters=NEW | {"epochs": 5})
            reply = door.http.post("/v1/jobs", json=body)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_new_worker_that_is_lost_leaves_its_job_to_the_next_new_one(system: System) -> None:
    later = of_a_later_release()
    with workers(system, 1, name="new", variables=later) as (lost,):
        job_id = runs.submitted(system, hyperparameters=runs.DRAWN | NEW | {"epochs": runs.ENDLESS})
        scenes.set_columns(system, job_id, kind_version=2)
        system.queue.publish(job_id, "cpu.calibration.2")
        until(lambda: runs.first_checkpoint(system, job_id))
        lost.popen.kill()
        lost.popen.wait()
    scenes.write(system, lambda session: session.execute(delete(Worker)))  # nobody has seen it for a minute
    with workers(system, 1, name="old"):
        until(lambda: scenes.job(system, job_id).stage == "no_worker_for_kind")
    job = scenes.job(system, job_id)
    assert (job.status, job.attempt) == ("running", 1)
    with workers(system, 1, name="newer", variables=later):
        until(lambda: scenes.job(system, job_id).attempt == 2)
        scenes.cancel(system, job_id)
        until(lambda: scenes.job(system, job_id).status == "cancelled")
