"""Succeeding, failing and giving back: one transaction each, and never again after it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from service.jobs import traces
from service.jobs.models import Metric, StoredArtifact, StoredCheckpoint, TargetRow
from service.jobs.values import Batch, Claim, Failure
from service.system import System
from tests.service.jobs import scenes

LAST = Batch(
    progress={"epoch": 5, "epochs": 5},
    metrics=[(5, {"loss": 1.0})],
    targets=[scenes.target_row(0), scenes.target_row(1)],
    checkpoints=[scenes.checkpoint_ref(5)],
    events=[scenes.note("last words")],
)
ARTIFACTS = (scenes.artifact_ref("b.txt"), scenes.artifact_ref("a.txt"))


ENDS: dict[str, Callable[[System, Claim], bool]] = {
    "succeeded": scenes.succeed,
    "failed": scenes.fail,
    "cancelled": scenes.end_cancelled,
}


def everything(system: System, job_id: str) -> list[object]:
    """Give every row the job has left, as plain values."""
    with system.database.reading() as session:
        tables = (Metric, TargetRow, StoredArtifact, StoredCheckpoint)
        rows = [row for table in tables for row in session.scalars(select(table))]
        traces_ = [{column.name: getattr(row, column.name) for column in row.__table__.columns} for row in rows]
    seen = [(event.seq, event.type) for event in scenes.events(system, job_id)]
    return [scenes.values_of(scenes.job(system, job_id)), traces_, seen]


def late_writes(system: System, held: Claim) -> list[object]:
    """Try every verb of a holder; gives what each said."""
    return [
        scenes.report(system, held, LAST).value,
        scenes.succeed(system, held, LAST, ARTIFACTS),
        scenes.fail(system, held, scenes.NO_RETRY, LAST),
        scenes.fail(system, held, scenes.RETRY, LAST),
        scenes.give_back(system, held, LAST),
        scenes.end_cancelled(system, held, LAST),
    ]


REFUSED: list[object] = ["lost", False, False, False, False, False]


def test_success_writes_state_summary_artifacts_and_targets_together(system: System) -> None:
    held = scenes.running(system)
    assert scenes.succeed(system, held, LAST, ARTIFACTS)
    job = scenes.job(system, held.job_id)
    assert (job.status, job.summary, job.error) == ("succeeded", {"n_active": 2}, None)
    assert (job.progress, job.finished_at is not None) == ({"epoch": 5, "epochs": 5}, True)
    with system.database.reading() as session:
        assert [row.name for row in traces.artifacts(session, held.job_id)] == ["a.txt", "b.txt"]
        assert [row.index for row in traces.target_rows(session, job, where=(), order=(), limit=9)] == [0, 1]
    assert scenes.event_types(system, held.job_id) == ["submitted", "started", "noted", "succeeded"]


def test_a_success_that_cannot_be_written_whole_is_not_written_at_all(system: System) -> None:
    held = scenes.running(system)
    before = everything(system, held.job_id)
    broken = Batch(targets=[scenes.target_row(0, estimate=None)])
    with pytest.raises(Exception, match=r"(?i)not.null"):
        scenes.succeed(system, held, broken, ARTIFACTS)
    assert everything(system, held.job_id) == before


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_an_ended_job_never_changes(system: System, end: str) -> None:
    held = scenes.running(system)
    assert ENDS[end](system, held)
    before = everything(system, held.job_id)
    assert late_writes(system, held) == REFUSED
    assert scenes.try_claim(system, held.job_id) is None
    assert held.job_id not in scenes.reap(system, republish_seconds=0.0)
    assert everything(system, held.job_id) == before
    assert scenes.job(system, held.job_id).status == end


def test_who_lost_the_job_writes_nothing(system: System) -> None:
    lost = scenes.running(system)
    scenes.expire(system, lost.job_id)
    held = scenes.claimed(system, lost.job_id)
    before = everything(system, lost.job_id)
    assert late_writes(system, lost) == REFUSED
    assert everything(system, lost.job_id) == before
    assert scenes.succeed(system, held)


def test_a_job_shows_the_targets_of_the_attempt_that_ended_it(system: System) -> None:
    lost = scenes.running(system)
    scenes.report(system, lost, Batch(targets=[scenes.target_row(0, estimate=1.0), scenes.target_row(7)]))
    scenes.expire(system, lost.job_id)
    held = scenes.claimed(system, lost.job_id)
    scenes.succeed(system, held, Batch(targets=[scenes.target_row(0, estimate=2.0)]))
    job = scenes.job(system, held.job_id)
    with system.database.reading() as session:
        assert traces.predictions(session, job) == [("target_0", 2.0)]


def test_a_failure_that_may_pass_leaves_the_job_to_another_attempt(system: System) -> None:
    held = scenes.running(system)
    assert scenes.fail(system, held, scenes.RETRY, LAST)
    job = scenes.job(system, held.job_id)
    assert (job.status, job.attempt, job.error, job.finished_at) == ("running", 1, None, None)
    assert scenes.sent(system) == [held.job_id, held.job_id]
    assert scenes.event_types(system, held.job_id)[-1] == "attempt_failed"
    assert scenes.claimed(system, held.job_id).attempt == 2


def test_a_failure_that_does_not_pass_ends_the_job(system: System) -> None:
    held = scenes.running(system)
    assert scenes.fail(system, held, Failure(code="diverged", detail="no number", title="It diverged"), LAST)
    job = scenes.job(system, held.job_id)
    assert (job.status, job.attempt, job.summary) == ("failed", 1, None)
    assert job.error is not None
    assert (job.error["code"], job.error["detail"], job.error["title"]) == ("diverged", "no number", "It diverged")
    assert scenes.sent(system) == [held.job_id]  # not sent again
    assert scenes.event_types(system, held.job_id)[-1] == "failed"


def test_the_last_attempt_s_failure_ends_the_job(system: System) -> None:
    held = scenes.running(system, max_attempts=2)
    assert scenes.fail(system, held, scenes.RETRY)
    assert scenes.fail(system, scenes.claimed(system, held.job_id), scenes.RETRY)
    job = scenes.job(system, held.job_id)
    assert (job.status, job.attempt) == ("failed", 2)
    assert job.error is not None
    assert job.error["code"] == "worker_lost"


def test_what_a_failed_attempt_told_is_kept(system: System) -> None:
    held = scenes.running(system)
    scenes.fail(system, held, scenes.RETRY, LAST)
    with system.database.reading() as session:
        assert session.scalars(select(StoredCheckpoint.epoch)).all() == [5]
    assert scenes.claimed(system, held.job_id).checkpoint == scenes.checkpoint_ref(5)


def test_an_attempt_given_back_does_not_count(system: System) -> None:
    held = scenes.running(system, max_attempts=1)
    assert scenes.give_back(system, held, LAST)
    job = scenes.job(system, held.job_id)
    assert (job.status, job.stage, job.attempt, job.lease_token) == ("running", "queued", 0, None)
    assert scenes.event_types(system, held.job_id)[-1] == "given_back"


def test_a_job_given_back_is_taken_at_once(system: System) -> None:
    held = scenes.running(system, max_attempts=1)
    scenes.give_back(system, held, LAST)
    assert scenes.sent(system) == [held.job_id, held.job_id]
    again = scenes.claimed(system, held.job_id, scenes.OTHER_WORKER)
    assert (again.attempt, again.checkpoint) == (1, scenes.checkpoint_ref(5))


def test_the_lease_of_a_job_given_back_is_over_and_never_null(system: System) -> None:
    held = scenes.running(system)
    scenes.give_back(system, held)
    job = scenes.job(system, held.job_id)
    assert job.lease_expires_at is not None
    assert job.heartbeat_at is not None
    assert job.lease_expires_at - job.heartbeat_at < timedelta(seconds=scenes.LEASE)


def test_rows_of_targets_written_again_by_an_attempt_are_replaced_whole(system: System) -> None:
    held = scenes.running(system)
    scenes.give_back(system, held, Batch(targets=[scenes.target_row(0, estimate=9.0, relative_error=-0.1)]))
    again = scenes.claimed(system, held.job_id)  # attempt 1 once more: the first did not count
    scenes.succeed(system, again, Batch(targets=[scenes.target_row(0, estimate=10.0, relative_error=0.0)]))
    with system.database.reading() as session:
        (row,) = session.scalars(select(TargetRow))
    assert (row.estimate, row.relative_error) == (10.0, 0.0)
