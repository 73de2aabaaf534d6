"""Moments, the database's clock, and JSON: alike on both databases."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table, select

from service.db.base import Json, Moment, database_now
from service.db.session import Database
from service.tables import Base

MOMENTS = Table("moments", MetaData(), Column("at", Moment), Column("told", Json))
UNTIL_2100 = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def kept(database: Database, at: datetime | None, told: object = None) -> tuple[datetime | None, object]:
    """Write a row, read it back, forget it."""
    with database.transaction() as session:
        MOMENTS.create(session.connection(), checkfirst=True)
        session.execute(MOMENTS.insert().values(at=at, told=told))
        row = session.execute(select(MOMENTS)).one()
        MOMENTS.drop(session.connection())
    return row.at, row.told


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=UNTIL_2100)
def test_a_moment_comes_back_to_the_microsecond(database: Database, at: datetime) -> None:
    back, _ = kept(database, at)
    assert back is not None
    assert abs(back - at) <= timedelta(microseconds=1)
    assert back.tzinfo is UTC


def test_a_moment_is_the_same_whatever_zone_it_was_told_in(database: Database) -> None:
    at = datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    assert kept(database, at)[0] == at


def test_no_moment_stays_none(database: Database) -> None:
    assert kept(database, None)[0] is None


def test_json_comes_back_as_it_went(database: Database) -> None:
    told = {"a": [1, 2.5, None, True, "ä"], "b": {"c": 2**53}, "tiny": 5e-324}
    assert kept(database, None, told)[1] == told


def test_the_clock_does_not_stand_still_between_statements(database: Database) -> None:
    with database.reading() as session:
        first = session.scalars(select(database_now())).one()
        while session.scalars(select(database_now())).one() == first:
            pass


def test_the_clock_is_this_machine_s(database: Database) -> None:
    before = datetime.now(UTC).timestamp()
    with database.reading() as session:
        now = session.scalars(select(database_now())).one()
    after = datetime.now(UTC).timestamp()
    assert before - 0.001 <= now <= after + 0.001  # SQLite's clock counts milliseconds


def test_every_constraint_and_index_has_a_name() -> None:
    for table in Base.metadata.sorted_tables:
        assert None not in {constraint.name for constraint in table.constraints}
        assert None not in {index.name for index in table.indexes}
