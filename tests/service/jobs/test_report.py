"""Reporting: the lease is renewed, what was told is kept once, and who lost the job writes nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from service.jobs import lifecycle
from service.jobs.models import Metric, StoredCheckpoint, TargetRow
from service.jobs.values import Batch, Claim, Directive
from service.system import System
from tests.service.jobs import scenes

THREADS, ROUNDS, EVENTS_A_ROUND = 4, 5, 3


def points(system: System, job_id: str) -> dict[tuple[str, int], float | None]:
    with system.database.reading() as session:
        rows = session.scalars(select(Metric).where(Metric.job_id == job_id))
        return {(row.key, row.step): row.value for row in rows}


def directive(system: System, held: Claim) -> Directive:
    with system.database.reading() as session:
        return lifecycle.directive(session, held)


def full_batch() -> Batch:
    return Batch(
        stage="selecting",
        progress={"epoch": 1, "epochs": 5},
        versions={"engine": "1"},
        metrics=[(0, {"loss": 3.0, "active": 2.0}), (1, {"loss": None, "active": 2.0})],
        targets=[scenes.target_row(0)],
        checkpoints=[scenes.checkpoint_ref(1)],
        events=[scenes.note("something")],
    )


def test_a_report_renews_the_lease(system: System) -> None:
    held = scenes.running(system)
    before = scenes.job(system, held.job_id).lease_expires_at
    scenes.report(system, held, lease=100.0)
    after = scenes.job(system, held.job_id).lease_expires_at
    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() > 60


def test_a_report_without_news_leaves_the_version(system: System) -> None:
    held = scenes.running(system)
    version = scenes.job(system, held.job_id).version
    scenes.report(system, held)
    assert scenes.job(system, held.job_id).version == version


def test_a_report_keeps_everything_it_tells(system: System) -> None:
    held = scenes.running(system)
    assert scenes.report(system, held, full_batch()) is Directive.GO_ON
    job = scenes.job(system, held.job_id)
    assert (job.stage, job.progress, job.versions) == ("selecting", {"epoch": 1, "epochs": 5}, {"engine": "1"})
    assert points(system, held.job_id) == {
        ("loss", 0): 3.0,
        ("active", 0): 2.0,
        ("loss", 1): None,
        ("active", 1): 2.0,
    }
    assert scenes.event_types(system, held.job_id) == ["submitted", "started", "noted"]
    with system.database.reading() as session:
        assert session.scalars(select(TargetRow.name)).all() == ["target_0"]
        assert session.scalars(select(StoredCheckpoint.epoch)).all() == [1]


def test_what_a_report_does_not_mention_stays(system: System) -> None:
    held = scenes.running(system)
    scenes.report(system, held, full_batch())
    scenes.report(system, held, Batch(metrics=[(2, {"loss": 1.0})]))
    job = scenes.job(system, held.job_id)
    assert (job.stage, job.progress, job.versions) == ("selecting", {"epoch": 1, "epochs": 5}, {"engine": "1"})


def test_points_that_come_again_are_kept_once(system: System) -> None:
    held = scenes.running(system)
    told = Batch(metrics=[(step, {"loss": float(step)}) for step in range(5)])
    scenes.report(system, held, told)
    before = points(system, held.job_id)
    scenes.report(system, held, told)
    assert points(system, held.job_id) == before


def test_a_point_that_comes_again_with_another_value_is_replaced(system: System) -> None:
    held = scenes.running(system)
    for value in (1.0, None, 2.0):
        scenes.report(system, held, Batch(metrics=[(0, {"loss": value})]))
    assert points(system, held.job_id) == {("loss", 0): 2.0}


def test_another_attempt_replaces_the_points_of_the_one_before(system: System) -> None:
    lost = scenes.running(system)
    scenes.report(system, lost, Batch(metrics=[(0, {"loss": 1.0}), (1, {"loss": 1.5})]))
    scenes.expire(system, lost.job_id)
    scenes.report(system, scenes.claimed(system, lost.job_id), Batch(metrics=[(1, {"loss": 2.0})]))
    assert points(system, lost.job_id) == {("loss", 0): 1.0, ("loss", 1): 2.0}


def test_events_are_numbered_without_a_gap_by_many_at_once(system: System) -> None:
    held = scenes.running(system)

    def tell(number: int) -> None:
        for round_ in range(ROUNDS):
            notes = [scenes.note(f"{number}.{round_}.{i}") for i in range(EVENTS_A_ROUND)]
            scenes.report(system, held, Batch(events=notes))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(tell, range(THREADS)))
    told = scenes.events(system, held.job_id)
    assert [event.seq for event in told] == list(range(1, 2 + THREADS * ROUNDS * EVENTS_A_ROUND + 1))
    assert len({event.message for event in told}) == len(told)


def test_events_of_one_report_keep_their_order(system: System) -> None:
    held = scenes.running(system)
    scenes.report(system, held, Batch(events=[scenes.note(str(number)) for number in range(20)]))
    assert [event.message for event in scenes.events(system, held.job_id)[2:]] == [str(n) for n in range(20)]


def test_who_lost_the_job_is_told_so_and_writes_nothing(system: System) -> None:
    lost = scenes.running(system)
    scenes.expire(system, lost.job_id)
    scenes.claimed(system, lost.job_id)
    before = scenes.values_of(scenes.job(system, lost.job_id)), scenes.event_types(system, lost.job_id)
    assert scenes.report(system, lost, full_batch()) is Directive.LOST
    assert directive(system, lost) is Directive.LOST
    assert (scenes.values_of(scenes.job(system, lost.job_id)), scenes.event_types(system, lost.job_id)) == before
    assert points(system, lost.job_id) == {}
    with system.database.reading() as session:
        assert session.scalars(select(TargetRow)).all() == []
        assert session.scalars(select(StoredCheckpoint)).all() == []


def test_a_late_holder_whose_job_nobody_took_goes_on(system: System) -> None:
    held = scenes.running(system)
    scenes.expire(system, held.job_id)
    assert scenes.report(system, held) is Directive.GO_ON
    assert scenes.try_claim(system, held.job_id) is None


@pytest.mark.parametrize("end", [scenes.succeed, scenes.fail, scenes.end_cancelled, scenes.give_back])
def test_a_report_after_the_end_is_lost(system: System, end: Callable[[System, Claim], bool]) -> None:
    held = scenes.running(system)
    assert end(system, held)
    before = scenes.values_of(scenes.job(system, held.job_id))
    assert scenes.report(system, held, full_batch()) is Directive.LOST
    assert directive(system, held) is Directive.LOST
    assert scenes.values_of(scenes.job(system, held.job_id)) == before


def test_the_holder_is_told_of_a_cancellation_at_the_next_report(system: System) -> None:
    held = scenes.running(system)
    assert directive(system, held) is Directive.GO_ON
    scenes.cancel(system, held.job_id)
    assert directive(system, held) is Directive.CANCEL
    assert scenes.report(system, held, full_batch()) is Directive.CANCEL
    assert len(points(system, held.job_id)) == 4  # what it tells is kept all the same


def test_the_holder_of_a_job_that_is_gone_has_lost_it(system: System) -> None:
    held = scenes.running(system)
    stranger = Claim(**{**{name: getattr(held, name) for name in held.__dataclass_fields__}, "job_id": "job_x"})
    assert directive(system, stranger) is Directive.LOST
