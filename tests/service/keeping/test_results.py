"""Results past their time: expired at once for everybody, then cleared, and nothing else with them."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from service.db.base import database_now
from service.jobs import curves, expiry, traces
from service.jobs.models import Metric, MetricBucket, StoredArtifact, StoredCheckpoint, TargetRow
from service.jobs.values import Batch
from service.keeping import results
from service.system import System
from tests.service.jobs import scenes
from tests.service.keeping import shelves
from tests.service.keeping.shelves import never

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LEAVINGS = (Metric, MetricBucket, TargetRow, StoredArtifact, StoredCheckpoint)


def finished(system: System, *, days_ago: float, points: int = 3) -> str:
    """Give a job that has succeeded so long ago and left something of every sort."""
    held = scenes.running(system)
    batch = Batch(
        metrics=[(step, {"loss": 1.0}) for step in range(points)],
        targets=[scenes.target_row(index) for index in range(3)],
        checkpoints=[shelves.checkpoint(system, held.job_id, 1)],
    )
    scenes.report(system, held, batch)
    assert scenes.succeed(system, held, artifacts=(shelves.artifact(system, held.job_id, "weights"),))
    shelves.ended_days_ago(system, held.job_id, days_ago)
    return held.job_id


def has_expired(system: System, job_id: str) -> bool:
    return scenes.job(system, job_id).expired_at is not None


def test_a_job_expires_ninety_days_after_its_end_and_not_before(system: System) -> None:
    young, old = finished(system, days_ago=89.9), finished(system, days_ago=90.1)
    results.expire(system)
    assert (has_expired(system, young), has_expired(system, old)) == (False, True)


def test_a_job_that_has_not_ended_never_expires(system: System) -> None:
    pending, held = scenes.submitted(system), scenes.running(system)
    long_ago = database_now() - 1000 * shelves.DAY_SECONDS
    for job_id in (pending, held.job_id):
        scenes.set_columns(system, job_id, created_at=long_ago, started_at=long_ago)
    results.expire(system)
    assert not has_expired(system, pending)
    assert not has_expired(system, held.job_id)


def test_failed_and_cancelled_jobs_expire_too(system: System) -> None:
    held, cancelled = scenes.running(system), scenes.submitted(system)
    scenes.fail(system, held)
    scenes.cancel(system, cancelled)
    for job_id in (held.job_id, cancelled):
        shelves.ended_days_ago(system, job_id, 91)
    results.expire(system)
    assert has_expired(system, held.job_id)
    assert has_expired(system, cancelled)


def test_a_job_that_expires_stays_and_says_so(system: System) -> None:
    job_id = finished(system, days_ago=91)
    before = scenes.job(system, job_id)
    results.expire(system)
    after = scenes.job(system, job_id)
    changed = {name for name, value in scenes.values_of(after).items() if value != scenes.values_of(before)[name]}
    assert changed == {"expired_at", "version", "last_event"}
    assert after.version > before.version
    assert scenes.event_types(system, job_id)[-2:] == ["succeeded", "expired"]


def test_nothing_is_cleared_while_who_found_it_there_may_still_read(system: System) -> None:
    job_id = finished(system, days_ago=91)
    results.expire(system)
    results.clear(system, never)
    assert [shelves.count(system, table) for table in LEAVINGS] == [3, 4, 3, 1, 1]
    assert shelves.keys(system) == [f"jobs/{job_id}/attempt/checkpoint-1", f"jobs/{job_id}/attempt/weights"]


def test_all_that_an_expired_job_has_left_goes_and_the_rest_stays(system: System) -> None:
    old, young = finished(system, days_ago=91), finished(system, days_ago=1)
    results.expire(system)
    shelves.expired_long_ago(system)
    results.clear(system, never)
    assert [shelves.count(system, table) for table in LEAVINGS] == [3, 4, 3, 1, 1]
    assert shelves.keys(system) == [f"jobs/{young}/attempt/checkpoint-1", f"jobs/{young}/attempt/weights"]
    assert scenes.job(system, old).cleared_at is not None
    assert scenes.job(system, young).cleared_at is None
    assert scenes.job(system, old).summary == {"n_active": 2}
    assert "succeeded" in scenes.event_types(system, old)


@on_sqlite
def test_clearing_goes_part_by_part_the_files_last(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "_ROWS_A_PART", 5)
    job_id = finished(system, days_ago=91, points=12)
    results.expire(system)
    shelves.expired_long_ago(system)
    parts = []
    while (part := scenes.write(system, expiry.clear)) is not None:
        parts.append((part.rows, len(part.storage_keys)))
    assert parts == [(5, 0), (5, 0), (5, 0), (5, 0), (0, 2)]  # 12 points, 5 buckets, 3 target rows
    assert scenes.job(system, job_id).cleared_at is not None


@on_sqlite
def test_clearing_that_was_cut_off_goes_on(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "_ROWS_A_PART", 5)
    finished(system, days_ago=91, points=12)
    results.expire(system)
    shelves.expired_long_ago(system)
    told = iter([False, True])
    results.clear(system, lambda: next(told))
    assert shelves.count(system, Metric) == 7
    results.clear(system, never)
    assert [shelves.count(system, table) for table in LEAVINGS] == [0] * 5


def test_many_workers_at_once_expire_and_clear_each_job_once(system: System) -> None:
    jobs = [finished(system, days_ago=91) for _ in range(6)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: results.expire(system), range(4)))
        shelves.expired_long_ago(system)
        list(pool.map(lambda _: results.clear(system, never), range(4)))
    assert [scenes.event_types(system, job_id).count("expired") for job_id in jobs] == [1] * 6
    assert [shelves.count(system, table) for table in LEAVINGS] == [0] * 5
    assert shelves.keys(system) == []


def test_a_curve_of_another_job_is_untouched_by_a_part(system: System) -> None:
    mine, other = finished(system, days_ago=91), finished(system, days_ago=1)
    scenes.write(system, partial(traces.drop_rows, job_id=mine, limit=1000))
    with system.database.reading() as session:
        assert curves.metric_keys(session, mine) == []
        assert curves.curves(session, other, ["loss"], from_step=0, to_step=None, max_points=1)["loss"].n == 3
