"""What jobs wait for: said by their stage, once by an event, until somebody who can take them is there."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from l0core.kinds import KINDS
from service.db.base import database_now
from service.jobs import submission, waiting, workers
from service.jobs.models import Worker
from service.jobs.values import Batch, WorkerIdentity
from service.system import System
from tests.service.jobs import scenes

SECONDS = 60.0
GPU_WORKER = WorkerIdentity(id="wrk_gpu", host="there", queues=("gpu",), device="cuda:0", kinds={"calibration": 1})
NEW_WORKER = replace(scenes.WORKER, id="wrk_new", kinds={"calibration": 2, "pruning": 1})
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def review(system: System) -> None:
    scenes.write(system, lambda session: waiting.review(session, SECONDS))


def see(system: System, worker: WorkerIdentity) -> None:
    scenes.write(system, lambda session: workers.see_worker(session, worker))


def told(system: System, job_id: str) -> list[tuple[str, str]]:
    """Give stage and sentence of each event about waiting."""
    found = [event for event in scenes.events(system, job_id) if event.type == "waiting"]
    return [(event.data["stage"], event.message) for event in found]


def stages(system: System, job_id: str) -> list[str]:
    return [stage for stage, _ in told(system, job_id)]


def newer(system: System, version: int = 2, **changes: Any) -> str:
    """Submit a job of a version that this engine does not know."""
    job_id = scenes.submitted(system, **changes)
    scenes.set_columns(system, job_id, kind_version=version)
    scenes.empty_broker(system.settings.broker)
    return job_id


def test_a_job_for_a_gpu_is_queued_once_a_gpu_worker_is_there_and_waits_again_when_the_last_is_gone(
    system: System,
) -> None:
    asked = scenes.request(scenes.keep_problem(system), device="cuda")
    job_id = submission.submit(system, system.dispatcher, scenes.TENANT, asked, None).id
    assert stages(system, job_id) == ["no_gpu_worker"]
    see(system, GPU_WORKER)
    before = scenes.job(system, job_id).version
    review(system)
    assert scenes.job(system, job_id).stage == "queued"
    assert scenes.job(system, job_id).version > before
    scenes.write(system, lambda session: session.execute(update(Worker).values(seen_at=database_now() - SECONDS - 1)))
    review(system)
    assert scenes.job(system, job_id).stage == "no_gpu_worker"
    assert told(system, job_id) == [
        ("no_gpu_worker", "no GPU worker was seen in the last 60 s; the job waits for one"),
        ("queued", "a worker that can take it is there"),
        ("no_gpu_worker", "no GPU worker was seen in the last 60 s; the job waits for one"),
    ]


@on_sqlite
def test_a_change_is_told_once_however_often_one_looks(system: System) -> None:
    job_id = scenes.submitted(system, device="cuda")
    for _ in range(3):
        review(system)
    version = scenes.job(system, job_id).version
    review(system)
    assert stages(system, job_id) == ["no_gpu_worker"]
    assert scenes.job(system, job_id).version == version


@on_sqlite
def test_a_job_the_last_gpu_worker_has_let_go_of_says_so(system: System) -> None:
    held = scenes.claimed(system, scenes.submitted(system, device="cuda"), GPU_WORKER)
    scenes.give_back(system, held)
    review(system)
    assert scenes.job(system, held.job_id).stage == "no_gpu_worker"


def test_a_job_whose_gpu_worker_was_lost_says_so(system: System) -> None:
    held = scenes.claimed(system, scenes.submitted(system, device="cuda"), GPU_WORKER)
    scenes.report(system, held, Batch(stage="selecting"))
    scenes.expire(system, held.job_id)
    review(system)
    assert scenes.job(system, held.job_id).stage == "selecting"  # until somebody has noticed that it is lost
    scenes.reap(system)
    review(system)
    assert scenes.job(system, held.job_id).stage == "no_gpu_worker"


@on_sqlite
def test_jobs_that_run_that_ended_and_that_wait_for_their_turn_are_left_alone(system: System) -> None:
    see(system, scenes.WORKER)
    running, ended, queued = scenes.running(system), scenes.running(system), scenes.submitted(system)
    scenes.succeed(system, ended)
    ids = (running.job_id, ended.job_id, queued)
    before = [scenes.values_of(scenes.job(system, job_id)) for job_id in ids]
    review(system)
    assert [scenes.values_of(scenes.job(system, job_id)) for job_id in ids] == before


@on_sqlite
def test_a_job_for_the_cpu_waits_for_its_turn_where_no_worker_is_there(system: System) -> None:
    job_id = scenes.submitted(system)
    review(system)
    assert scenes.job(system, job_id).stage == "queued"


def test_a_job_of_a_newer_version_says_what_it_needs_and_what_the_workers_know(system: System) -> None:
    see(system, replace(scenes.WORKER, kinds={"calibration": 1}))
    job_id = newer(system)
    review(system)
    assert scenes.job(system, job_id).stage == "no_worker_for_kind"
    sentence = (
        "no worker of the queue cpu knows calibration version 2, they know calibration up to version 1; "
        "the job waits for a newer worker"
    )
    assert told(system, job_id) == [("no_worker_for_kind", sentence)]
    see(system, NEW_WORKER)
    review(system)
    assert scenes.job(system, job_id).stage == "queued"
    assert stages(system, job_id) == ["no_worker_for_kind", "queued"]


@on_sqlite
def test_a_job_of_a_kind_nobody_knows_says_so_at_its_submission(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(system, replace(scenes.WORKER, kinds={"calibration": 1}))
    monkeypatch.setitem(KINDS, "calibration", replace(KINDS["calibration"], version=7))
    asked = scenes.request(scenes.keep_problem(system))
    job = submission.submit(system, system.dispatcher, scenes.TENANT, asked, None)
    assert (job.kind_version, job.stage) == (7, "no_worker_for_kind")
    assert stages(system, job.id) == ["no_worker_for_kind"]
    assert job.version == scenes.job(system, job.id).version - 1  # what was sent since


@on_sqlite
def test_a_worker_of_before_versions_counts_as_one_that_knows_the_first(system: System) -> None:
    see(system, replace(scenes.WORKER, kinds={}))
    first, second = scenes.submitted(system), newer(system)
    review(system)
    assert [scenes.job(system, job_id).stage for job_id in (first, second)] == ["queued", "no_worker_for_kind"]


@on_sqlite
def test_the_first_version_goes_by_the_plain_name_and_others_by_their_own(system: System) -> None:
    first, second = scenes.submitted(system), newer(system)
    scenes.published_long_ago(system, second)
    scenes.write(system, lambda session: system.dispatcher.after_commit(session, scenes.job(system, first)))
    scenes.write(system, lambda session: system.dispatcher.after_commit(session, scenes.job(system, second)))
    assert (scenes.sent(system), scenes.sent(system, "cpu.calibration.2")) == ([first], [second])


@on_sqlite
def test_who_does_not_know_a_version_never_sends_its_jobs_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = newer(system)
    scenes.published_long_ago(system, job_id)
    assert [scenes.reap(system), scenes.reap(system)] == [[], []]
    monkeypatch.setitem(KINDS, "calibration", replace(KINDS["calibration"], version=2))
    assert [scenes.reap(system), scenes.reap(system)] == [[job_id], []]
    scenes.published_long_ago(system, job_id)
    assert scenes.reap(system) == []  # its id still waits
    assert scenes.sent(system, "cpu.calibration.2") == [job_id]


def test_the_ids_of_lost_jobs_do_not_pile_up_while_nobody_can_take_them(system: System) -> None:
    job_id = scenes.submitted(system, device="cuda")
    held = scenes.claimed(system, job_id, GPU_WORKER)
    scenes.empty_broker(system.settings.broker)
    scenes.set_columns(system, job_id, lease_expires_at=database_now() - 300.0)
    scenes.reap(system)
    for _ in range(3):
        scenes.set_columns(system, held.job_id, published_at=database_now() - 100.0)
        scenes.reap(system)
    assert scenes.sent(system, "gpu") == [job_id]


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_up_to_the_one_that_is_known_is_claimed(system: System, version: int) -> None:
    kinds = {"calibration": replace(KINDS["calibration"], version=2)}
    assert scenes.try_claim(system, newer(system, version), kinds=kinds)


@on_sqlite
def test_a_version_above_the_one_that_is_known_is_left_alone(system: System) -> None:
    job_id = newer(system)
    assert scenes.try_claim(system, job_id) is None
    job = scenes.job(system, job_id)
    assert (job.status, job.attempt) == ("pending", 0)


@on_sqlite
def test_why_a_job_was_not_claimed_is_said_for_every_reason(system: System) -> None:
    def reason(job_id: str, worker: WorkerIdentity = scenes.WORKER) -> str:
        return waiting.why_not_claimed(scenes.job(system, job_id), worker, {"calibration": 1})

    ended, cancelled = scenes.running(system), scenes.running(system)
    scenes.succeed(system, ended)
    scenes.cancel(system, cancelled.job_id)
    spent = scenes.running(system, max_attempts=1)
    assert waiting.why_not_claimed(None, scenes.WORKER, {}) == "there is no such job"
    assert reason(ended.job_id) == "it has succeeded"
    assert reason(newer(system)) == "it is calibration version 2; this worker knows calibration up to version 1"
    assert reason(scenes.submitted(system, kind="other")).startswith("it is other version 1; this worker knows cal")
    assert reason(scenes.submitted(system, device="cuda")) == "it is for the queue gpu; this worker serves cpu"
    assert reason(cancelled.job_id) == "its cancellation was asked for"
    assert reason(spent.job_id) == "no attempt is left"
    assert reason(scenes.running(system).job_id) == "another worker holds it"


def test_many_jobs_change_their_stage_together(system: System) -> None:
    problem_id = scenes.keep_problem(system)
    ids = [scenes.submitted(system, problem_id, device="cuda") for _ in range(20)]
    review(system)
    assert {scenes.job(system, job_id).stage for job_id in ids} == {"no_gpu_worker"}
    assert [stages(system, job_id) for job_id in ids] == [["no_gpu_worker"]] * 20
