"""No room: a run goes on without a checkpoint, a result is refused with a clear word, and nothing is left over."""

import pytest

from service.system import System
from tests.faults.engines import let_files_grow, let_no_file_grow_beyond
from tests.faults.test_workers_killed import assert_undisturbed
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.service.keeping import shelves
from tests.worker import runs

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TOO_SMALL_FOR_A_CHECKPOINT = 1000


def findings(system: System, job_id: str) -> list[str]:
    return [event.data["code"] for event in scenes.events(system, job_id) if event.type == "finding"]


def test_a_run_goes_on_without_the_checkpoint_that_finds_no_room(system: System) -> None:
    job_id = runs.submitted(system)
    with runs.attempt(system, job_id) as attempt:
        with attempt.held_in_mid_run():
            let_no_file_grow_beyond(attempt.engine, TOO_SMALL_FOR_A_CHECKPOINT)
        until(lambda: findings(system, job_id))
        let_files_grow(attempt.engine)
    assert findings(system, job_id) == ["checkpoint_not_stored"]
    assert scenes.job(system, job_id).attempt == 1
    assert_undisturbed(system, job_id)
    assert runs.leftovers(system) == []


def test_a_result_that_finds_no_room_fails_the_job_keeps_its_checkpoint_and_leaves_nothing(system: System) -> None:
    job_id = runs.submitted(system)
    with runs.attempt(system, job_id) as attempt, attempt.held_in_mid_run() as reached:
        let_no_file_grow_beyond(attempt.engine, TOO_SMALL_FOR_A_CHECKPOINT)
    job, latest = scenes.job(system, job_id), runs.latest_checkpoint(system, job_id)
    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error is not None
    assert (job.error["code"], job.error["title"]) == ("storage_full", "No room to store the result")
    assert "there is no room left to store the result" in job.error["detail"]
    assert latest is not None
    assert latest.epoch >= reached  # one that was stored already may be listed after the engine stood still
    assert runs.is_whole(system, latest)
    with system.database.reading() as session:
        named = shelves.named(session, job_id)
    assert {key for key in shelves.keys(system) if key.startswith("jobs/")} == named
    assert runs.leftovers(system) == []


def test_an_attempt_that_finds_no_room_to_begin_fails_with_a_clear_word(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    job_id = runs.submitted(system)
    monkeypatch.setattr("worker.execution.tempfile.TemporaryDirectory", full)
    runs.executed(system, job_id)
    error = scenes.job(system, job_id).error
    assert error is not None
    assert error["code"] == "storage_full"
