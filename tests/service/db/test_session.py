"""Transactions on both databases."""

from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from service.db.base import database_now
from service.db.session import Database, after_commit
from tests.service.jobs.waiting import until


def test_what_waits_for_the_commit_happens_after_it_and_only_then(database: Database) -> None:
    seen: list[str] = []
    with database.transaction() as session:
        after_commit(session, lambda: seen.append("sent"))
        assert seen == []
    assert seen == ["sent"]


def test_nothing_is_sent_when_the_transaction_fails(database: Database) -> None:
    seen: list[str] = []
    with pytest.raises(RuntimeError), database.transaction() as session:
        after_commit(session, lambda: seen.append("sent"))
        raise RuntimeError
    assert seen == []


def test_the_database_clock_is_in_seconds_and_moves(database: Database) -> None:
    with database.reading() as session:
        first = session.scalar(select(database_now()))
    with database.reading() as session:
        later = session.scalar(select(database_now()))
    assert first is not None
    assert later is not None
    assert 1.7e9 < first <= later < 5e9


def test_a_reader_that_writes_later_does_not_find_the_database_locked(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with database.transaction() as session:
        session.execute(text("CREATE TABLE t (x INTEGER)"))
    with database.transaction() as first:
        first.execute(text("SELECT * FROM t"))
        first.execute(text("INSERT INTO t VALUES (1)"))
    with database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM t")) == 1
    database.dispose()


def test_only_the_session_module_commits() -> None:
    root = Path(__file__).parents[3]
    offenders = [
        str(path)
        for folder in ("service", "worker", "l0core")
        for path in (root / folder).rglob("*.py")
        if ".commit(" in path.read_text() and path.name != "session.py"
    ]
    assert offenders == []


def test_who_stands_still_in_a_transaction_loses_its_locks(postgres_url: str) -> None:
    """A worker that is frozen in mid-transaction must not hold up those who take its job over."""
    database = Database(postgres_url)
    frozen, others = Session(database.engine), Session(database.engine)
    try:
        frozen.execute(text("LOCK TABLE workers IN ACCESS EXCLUSIVE MODE"))
        until(lambda: may_count_workers(others))
        with pytest.raises(DBAPIError):
            frozen.execute(text("SELECT 1"))
    finally:
        frozen.invalidate()
        others.close()
        database.dispose()


def may_count_workers(session: Session) -> bool:
    try:
        session.execute(text("SELECT count(*) FROM workers"))
    except OperationalError:  # it waited as long as one waits for a lock
        session.rollback()
        return False
    return True
