"""Loss curves: whatever is asked of a curve is what its points say, however they were written."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, event, func, select

from service.jobs import curves
from service.jobs.curves import WIDTHS
from service.jobs.models import Metric, MetricBucket
from service.jobs.values import Batch, Claim
from service.system import System
from tests.service.jobs import scenes

POINTS = 17_000  # 68,000 parameters: SQLite takes 32,766 in a statement, PostgreSQL 65,535
Values = Mapping[int, float | None]
values_of_a_curve = st.none() | st.floats(-1e300, 1e300, allow_nan=False)
near_steps = st.dictionaries(st.integers(0, 9000), values_of_a_curve, min_size=1, max_size=30)
far_steps = st.dictionaries(st.integers(0, 2**40), values_of_a_curve, min_size=1, max_size=12)
RELAXED = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def held(system: System) -> Claim:
    return scenes.running(system)


def keep(system: System, held: Claim, values: Values, key: str = "loss") -> None:
    points = [(step, {key: value}) for step, value in values.items()]
    scenes.write(system, lambda session: curves.put_metrics(session, held.job_id, points))


class Row(NamedTuple):
    step: int
    last: float | None
    low: float | None
    high: float | None


class Shown(NamedTuple):
    rows: list[Row]
    n: int


def curve(
    system: System, held: Claim, *, max_points: int, from_step: int = 0, to_step: int | None = None, key: str = "loss"
) -> Shown:
    with system.database.reading() as session:
        (found,) = curves.curves(
            session, held.job_id, [key], from_step=from_step, to_step=to_step, max_points=max_points
        ).values()
    columns = (found.step, found.last, found.low, found.high)
    return Shown([Row(*row) for row in zip(*columns, strict=True)], found.n)


def rows_of(*args: System | Claim, **query: int) -> list[tuple[int, float | None, float | None, float | None]]:
    system, held = args
    assert isinstance(system, System)
    assert isinstance(held, Claim)
    return [tuple(row) for row in curve(system, held, **query).rows]  # type: ignore[arg-type,misc]  # int queries only


def check(shown: Shown, values: Values, *, max_points: int, from_step: int = 0, to_step: int | None = None) -> None:
    """Check that parts are few, follow one another, and say of their points what those are."""
    inside = sorted(step for step in values if from_step <= step and (to_step is None or step <= to_step))
    assert shown.n == len(values)
    assert len(shown.rows) <= max_points
    if len(inside) <= max_points:
        assert [row.step for row in shown.rows] == inside
    left = list(inside)
    for row in shown.rows:
        part = [step for step in left if step <= row.step]
        left = left[len(part) :]
        numbers = [value for step in part if (value := values[step]) is not None]
        assert row == (part[-1], values[part[-1]], min(numbers, default=None), max(numbers, default=None))
    assert left == []


def starve(session_owner: System) -> None:
    """Take every bucket away, as for points that a process of the version before wrote."""
    scenes.write(session_owner, lambda session: session.execute(delete(MetricBucket)))


def empty(system: System) -> None:
    scenes.write(system, lambda session: session.execute(delete(MetricBucket)))
    scenes.write(system, lambda session: session.execute(delete(Metric)))


@RELAXED
@given(data=st.data(), batches=st.lists(near_steps | far_steps, min_size=1, max_size=4), max_points=st.integers(1, 40))
def test_any_part_of_any_curve_is_what_its_points_say(
    system: System, held: Claim, data: st.DataObject, batches: Sequence[Values], max_points: int
) -> None:
    empty(system)
    told: dict[int, float | None] = {}
    for batch in batches:
        keep(system, held, batch)
        told |= batch
    step = st.sampled_from(sorted(told)).flatmap(lambda at: st.integers(max(0, at - 70), at + 70))
    from_step, to_step = data.draw(st.just(0) | step), data.draw(st.none() | step)
    query: dict[str, Any] = {"max_points": max_points, "from_step": from_step}
    shown = curve(system, held, to_step=to_step, **query)
    check(shown, told, to_step=to_step, **query)


@RELAXED
@given(batches=st.lists(near_steps, min_size=1, max_size=4), old=st.integers(0, 3))
def test_every_bucket_of_every_width_is_what_its_points_say(
    system: System, held: Claim, batches: Sequence[Values], old: int
) -> None:
    empty(system)
    told: dict[int, float | None] = {}
    for number, batch in enumerate(batches):
        keep(system, held, batch)
        told |= batch
        if number < old:
            starve(system)
    check(curve(system, held, max_points=7), told, max_points=7)
    with system.database.reading() as session:
        found = {(row.width, row.bucket): row for row in session.scalars(select(MetricBucket))}
    if max((row.last_step for row in found.values()), default=-1) < max(told):
        return  # points behind the last bucket: buckets are not read
    assert set(found) == {(width, step // width) for width in WIDTHS for step in told}
    for (width, bucket), row in found.items():
        part = sorted(step for step in told if step // width == bucket)
        numbers = [value for step in part if (value := told[step]) is not None]
        assert (row.last_step, row.last, row.n) == (part[-1], told[part[-1]], len(part))
        assert (row.low, row.high) == (min(numbers, default=None), max(numbers, default=None))


@pytest.fixture
def long(system: System, held: Claim) -> Values:
    """A curve of 10,000 points, some of them no numbers, told in batches beside another one."""
    values = {step: None if step % 501 == 500 else math.sin(step) / (1 + step) for step in range(1, 10_001)}
    steps = list(values)
    for start in range(0, len(steps), 2500):
        points = [(step, {"loss": values[step], "other": 1.0}) for step in steps[start : start + 2500]]
        scenes.report(system, held, Batch(metrics=points))
    return values


PARTS = [
    (1000, 0, None),
    (100, 0, None),
    (1, 0, None),
    (1, 1, None),
    (100, 5, None),
    (100, 64, 9999),
    (100, 777, 5345),
    (3, 9, 70),
]


def test_a_long_curve_is_read_from_few_rows(system: System, held: Claim, long: Values) -> None:
    for max_points, from_step, to_step in PARTS:
        shown = curve(system, held, max_points=max_points, from_step=from_step, to_step=to_step)
        check(shown, long, max_points=max_points, from_step=from_step, to_step=to_step)
        assert len(shown.rows) >= max_points // 2


def test_a_long_curve_without_buckets_is_read_all_the_same(system: System, held: Claim, long: Values) -> None:
    starve(system)
    for max_points, from_step, to_step in PARTS:
        shown = curve(system, held, max_points=max_points, from_step=from_step, to_step=to_step)
        check(shown, long, max_points=max_points, from_step=from_step, to_step=to_step)


def test_a_batch_that_comes_again_changes_nothing(system: System, held: Claim, long: Values) -> None:
    def everything() -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        with system.database.reading() as session:
            points = session.execute(select(*Metric.__table__.c).order_by(Metric.key, Metric.step)).all()
            order = (MetricBucket.key, MetricBucket.width, MetricBucket.bucket)
            buckets = session.execute(select(*MetricBucket.__table__.c).order_by(*order)).all()
        return [tuple(row) for row in points], [tuple(row) for row in buckets]

    before = everything()
    for start in (1, 4000, 9000):
        points = [(step, {"loss": long[step], "other": 1.0}) for step in range(start, start + 1000)]
        scenes.report(system, held, Batch(metrics=points))
    assert everything() == before


def test_a_batch_takes_few_statements_however_long(system: System, held: Claim) -> None:
    statements: list[str] = []
    event.listen(system.database.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    points = [(step, {f"series {key}": 1.0 for key in range(20)}) for step in range(500)]
    scenes.write(system, lambda session: curves.put_metrics(session, held.job_id, points))
    assert len(statements) <= 4 + len(WIDTHS)
    with system.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Metric)) == 10_000


def test_points_told_after_those_of_the_version_before_give_all_their_buckets(system: System, held: Claim) -> None:
    values: dict[int, float | None] = {step: float(step % 97) for step in range(2000)}
    keep(system, held, {step: value for step, value in values.items() if step < 1500})
    starve(system)
    keep(system, held, {step: value for step, value in values.items() if step >= 1500})
    with system.database.reading() as session:
        widest = select(func.sum(MetricBucket.n)).where(MetricBucket.width == WIDTHS[-1])
        assert int(session.scalar(widest) or 0) == 2000
    check(curve(system, held, max_points=50), values, max_points=50)


def test_a_short_curve_is_given_point_for_point(system: System, held: Claim) -> None:
    keep(system, held, {0: 3.0, 1: 2.0, 700: 1.0})
    assert rows_of(system, held, max_points=3) == [(0, 3.0, 3.0, 3.0), (1, 2.0, 2.0, 2.0), (700, 1.0, 1.0, 1.0)]


def test_a_value_that_is_no_number_stays_null_and_spoils_no_bucket(system: System, held: Claim) -> None:
    keep(system, held, {0: 1.0, 1: None, 2: 3.0, 3: None, 4: None, 5: None})
    assert rows_of(system, held, max_points=2) == [(2, 3.0, 1.0, 3.0), (5, None, None, None)]


def test_a_part_of_a_curve_is_cut_out(system: System, held: Claim) -> None:
    keep(system, held, {step: float(step) for step in range(10)})
    assert [row[0] for row in rows_of(system, held, max_points=100, from_step=3, to_step=5)] == [3, 4, 5]
    assert curve(system, held, max_points=100, from_step=10) == ([], 10)
    assert curve(system, held, max_points=100, from_step=5, to_step=4) == ([], 10)


def test_a_curve_of_another_job_or_key_does_not_mix_in(system: System, held: Claim) -> None:
    keep(system, held, {0: 1.0})
    keep(system, held, {0: 2.0, 1: 2.0}, key="active")
    keep(system, scenes.running(system), {0: 3.0, 1: 3.0})
    assert curve(system, held, max_points=10) == ([(0, 1.0, 1.0, 1.0)], 1)
    with system.database.reading() as session:
        assert curves.metric_keys(session, held.job_id) == ["active", "loss"]
    assert curve(system, held, max_points=10, key="none") == ([], 0)


def test_a_batch_beyond_the_parameters_of_one_statement_is_kept_whole(system: System, held: Claim) -> None:
    keep(system, held, {step: float(step) for step in range(POINTS)})
    assert curve(system, held, max_points=10).n == POINTS
    with system.database.reading() as session:
        total = session.scalar(select(func.sum(Metric.value)))
    assert total == sum(range(POINTS))


def test_numbers_are_kept_to_the_last_bit(system: System, held: Claim) -> None:
    values: dict[int, float | None] = {0: 0.1 + 0.2, 1: 5e-324, 2: 1.7976931348623157e308, 3: -0.0, 2**62: 1 / 3}
    keep(system, held, values)
    assert {row[0]: row[1] for row in rows_of(system, held, max_points=2**63)} == values


def test_a_point_told_twice_in_one_batch_is_the_last_one_told(system: System, held: Claim) -> None:
    scenes.report(system, held, Batch(metrics=[(0, {"loss": 1.0}), (0, {"loss": 2.0})]))
    assert rows_of(system, held, max_points=10) == [(0, 2.0, 2.0, 2.0)]


@pytest.mark.parametrize("max_points", [3, 50, 1000])
def test_curves_read_together_are_those_read_alone(system: System, held: Claim, max_points: int) -> None:
    told = {"loss": range(600), "active": range(600), "temperature": range(0, 600, 7), "late": range(590, 600)}
    for number, (key, steps) in enumerate(told.items()):
        keep(system, held, {step: number * 1000.0 + step for step in steps}, key=key)
    query: dict[str, Any] = {"from_step": 2, "to_step": 598, "max_points": max_points}
    with system.database.reading() as session:
        together = curves.curves(session, held.job_id, [*told, "none"], **query)
        alone = {key: curves.curves(session, held.job_id, [key], **query)[key] for key in [*told, "none"]}
    assert together == alone
    assert {key: curve.n for key, curve in together.items()} == {key: len(steps) for key, steps in told.items()} | {
        "none": 0
    }
