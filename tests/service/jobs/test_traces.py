"""What a job leaves behind: loss curves in buckets, rows in batches, checkpoints of which the newest are kept."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from service.jobs import traces
from service.jobs.models import Metric, StoredCheckpoint, TargetRow
from service.jobs.values import Batch, Claim
from service.system import System
from tests.service.jobs import scenes

Point = tuple[int, float | None, float | None, float | None]
POINTS = 17_000  # 68,000 parameters: SQLite takes 32,766 in a statement, PostgreSQL 65,535
ROWS_OF_TARGETS = 6_000  # 72,000 parameters


@pytest.fixture
def held(system: System) -> Claim:
    return scenes.running(system)


def keep(system: System, held: Claim, values: dict[int, float | None], key: str = "loss") -> None:
    points = [(step, {key: value}) for step, value in values.items()]
    scenes.write(system, lambda session: traces.put_metrics(session, held.job_id, points))


def curve(
    system: System, held: Claim, *, max_points: int, from_step: int = 0, to_step: int | None = None
) -> list[Point]:
    with system.database.reading() as session:
        return traces.curve(session, held.job_id, "loss", from_step=from_step, to_step=to_step, max_points=max_points)


def buckets(values: dict[int, float | None], max_points: int) -> list[Point]:
    """Give what `curve` shall give, by numpy."""
    steps = np.array(sorted(values))
    width = max(1, int(np.ceil((steps[-1] - steps[0] + 1) / max_points)))
    places = (steps - steps[0]) // width
    rows = []
    for place in np.unique(places):
        within = steps[places == place]
        numbers = [value for step in within.tolist() if (value := values[step]) is not None]
        last = int(within[-1])
        rows.append((last, values[last], min(numbers, default=None), max(numbers, default=None)))
    return rows


@pytest.mark.parametrize("max_points", [1, 2, 3, 7, 100, 1000])
def test_a_curve_comes_in_buckets_of_equal_width(system: System, held: Claim, max_points: int) -> None:
    rng = np.random.default_rng(0)
    steps = np.sort(rng.choice(5000, size=700, replace=False)).tolist()
    values: dict[int, float | None] = {step: float(rng.normal()) for step in steps}
    keep(system, held, values)
    shown = curve(system, held, max_points=max_points)
    assert shown == buckets(values, max_points)
    assert len(shown) <= max_points


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.dictionaries(
        st.integers(0, 2**40), st.none() | st.floats(-1e300, 1e300, allow_nan=False), min_size=1, max_size=12
    ),
    max_points=st.integers(1, 15),
)
def test_any_curve_is_the_one_numpy_gives(
    system: System, held: Claim, values: dict[int, float | None], max_points: int
) -> None:
    scenes.write(system, lambda session: session.execute(delete(Metric)))
    keep(system, held, values)
    shown = curve(system, held, max_points=max_points)
    assert shown == buckets(values, max_points)
    assert len(shown) <= max_points


def test_a_short_curve_is_given_point_for_point(system: System, held: Claim) -> None:
    keep(system, held, {0: 3.0, 1: 2.0, 2: 1.0})
    assert curve(system, held, max_points=3) == [(0, 3.0, 3.0, 3.0), (1, 2.0, 2.0, 2.0), (2, 1.0, 1.0, 1.0)]


def test_a_value_that_is_no_number_stays_null_and_spoils_no_bucket(system: System, held: Claim) -> None:
    keep(system, held, {0: 1.0, 1: None, 2: 3.0, 3: None, 4: None, 5: None})
    assert curve(system, held, max_points=2) == [(2, 3.0, 1.0, 3.0), (5, None, None, None)]


def test_a_part_of_a_curve_is_cut_out(system: System, held: Claim) -> None:
    keep(system, held, {step: float(step) for step in range(10)})
    assert [row[0] for row in curve(system, held, max_points=100, from_step=3, to_step=5)] == [3, 4, 5]
    assert curve(system, held, max_points=100, from_step=10) == []
    assert curve(system, held, max_points=100, from_step=5, to_step=4) == []


def test_a_curve_of_another_job_or_key_does_not_mix_in(system: System, held: Claim) -> None:
    keep(system, held, {0: 1.0})
    keep(system, held, {0: 2.0, 1: 2.0}, key="active")
    keep(system, scenes.running(system), {0: 3.0, 1: 3.0})
    assert curve(system, held, max_points=10) == [(0, 1.0, 1.0, 1.0)]


def test_points_are_counted_by_key(system: System, held: Claim) -> None:
    keep(system, held, {0: 1.0, 5: None})
    keep(system, held, {0: 1.0}, key="active")
    with system.database.reading() as session:
        assert traces.metric_keys(session, held.job_id) == ["active", "loss"]
        counts = [traces.point_count(session, held.job_id, key) for key in ("active", "loss", "none")]
    assert counts == [1, 2, 0]


def test_a_batch_beyond_the_parameters_of_one_statement_is_kept_whole(system: System, held: Claim) -> None:
    values: dict[int, float | None] = {step: float(step) for step in range(POINTS)}
    keep(system, held, values)
    with system.database.reading() as session:
        assert traces.point_count(session, held.job_id, "loss") == POINTS
        total = session.scalar(select(func.sum(Metric.value)))
    assert total == sum(range(POINTS))


def test_rows_of_targets_beyond_one_statement_are_kept_whole(system: System, held: Claim) -> None:
    rows = [scenes.target_row(index) for index in range(ROWS_OF_TARGETS)]
    scenes.write(system, lambda session: traces.put_targets(session, held, rows))
    with system.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(TargetRow)) == ROWS_OF_TARGETS


def test_numbers_are_kept_to_the_last_bit(system: System, held: Claim) -> None:
    values: dict[int, float | None] = {0: 0.1 + 0.2, 1: 5e-324, 2: 1.7976931348623157e308, 3: -0.0, 2**62: 1 / 3}
    keep(system, held, values)
    assert {row[0]: row[1] for row in curve(system, held, max_points=2**63)} == values


@pytest.mark.parametrize(
    "database_url",
    [
        "sqlite",
        "postgresql",
    ],
    indirect=True,
)
def test_a_point_told_twice_in_one_batch_is_the_last_one_told(system: System, held: Claim) -> None:
    scenes.report(system, held, Batch(metrics=[(0, {"loss": 1.0}), (0, {"loss": 2.0})]))
    assert curve(system, held, max_points=10) == [(0, 2.0, 2.0, 2.0)]


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
