"""What a job leaves behind: rows in batches, checkpoints of which the newest are kept, artifacts, events."""

import pytest
from sqlalchemy import func, select

from service.jobs import traces
from service.jobs.models import StoredCheckpoint, TargetRow
from service.jobs.values import Batch, Claim
from service.system import System
from tests.service.jobs import scenes

ROWS_OF_TARGETS = 6_000  # 72,000 parameters: SQLite takes 32,766 in a statement, PostgreSQL 65,535


@pytest.fixture
def held(system: System) -> Claim:
    return scenes.running(system)


def test_rows_of_targets_beyond_one_statement_are_kept_whole(system: System, held: Claim) -> None:
    rows = [scenes.target_row(index) for index in range(ROWS_OF_TARGETS)]
    scenes.write(system, lambda session: traces.put_targets(session, held, rows))
    with system.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(TargetRow)) == ROWS_OF_TARGETS


def test_all_but_the_newest_checkpoints_are_dropped(system: System, held: Claim) -> None:
    refs = [scenes.checkpoint_ref(epoch) for epoch in (30, 10, 40, 20)]
    scenes.report(system, held, Batch(checkpoints=refs))
    dropped = scenes.write(system, lambda session: traces.drop_older_checkpoints(session, held.job_id, 2))
    assert dropped == [scenes.checkpoint_ref(20).storage_key, scenes.checkpoint_ref(10).storage_key]
    with system.database.reading() as session:
        assert set(session.scalars(select(StoredCheckpoint.epoch))) == {30, 40}
        latest = traces.checkpoint_ref(traces.latest_checkpoint(session, held.job_id))
    assert latest == scenes.checkpoint_ref(40)


def test_another_job_s_checkpoints_are_not_dropped(system: System, held: Claim) -> None:
    other = scenes.running(system)
    scenes.report(system, other, Batch(checkpoints=[scenes.checkpoint_ref(1, "other")]))
    scenes.report(system, held, Batch(checkpoints=[scenes.checkpoint_ref(2)]))
    assert scenes.write(system, lambda session: traces.drop_older_checkpoints(session, held.job_id, 2)) == []
    assert scenes.write(system, lambda session: traces.drop_older_checkpoints(session, held.job_id, 0))
    with system.database.reading() as session:
        assert traces.latest_checkpoint(session, other.job_id) is not None


def test_a_job_without_checkpoints_has_no_latest_one(system: System, held: Claim) -> None:
    with system.database.reading() as session:
        assert traces.checkpoint_ref(traces.latest_checkpoint(session, held.job_id)) is None


def test_artifacts_are_found_by_their_names(system: System, held: Claim) -> None:
    scenes.succeed(system, held, artifacts=(scenes.artifact_ref("b.txt"), scenes.artifact_ref("a.txt")))
    with system.database.reading() as session:
        assert [row.name for row in traces.artifacts(session, held.job_id)] == ["a.txt", "b.txt"]
        found = traces.artifact(session, held.job_id, "a.txt")
        assert found is not None
        assert found.storage_key == "jobs/x/a.txt"
        assert traces.artifact(session, held.job_id, "c.txt") is None


def test_events_are_read_on_from_a_number(system: System, held: Claim) -> None:
    scenes.report(system, held, Batch(events=[scenes.note(str(number)) for number in range(5)]))
    with system.database.reading() as session:
        page = traces.events_after(session, held.job_id, 3, 2)
    assert [(event.seq, event.message) for event in page] == [(4, "1"), (5, "2")]
