"""Inserting rows of which some are there already."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.db.base import Base
from service.db.session import is_postgresql

Insert = postgresql.Insert | sqlite.Insert


def upsert(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of one shape, as many as one likes; one whose key is there already is replaced whole."""
    if rows:
        session.connection().execute(replacing(session, table, list(rows[0])), [dict(row) for row in rows])


def insert_once(session: Session, table: type[Base], row: Mapping[str, Any]) -> None:
    """Insert a row; one whose key is there already stays as it is."""
    session.connection().execute(_insert(session, table).values(dict(row)).on_conflict_do_nothing())


def replacing(session: Session, table: type[Base], columns: Sequence[str]) -> Insert:
    """Give an insert into the table that replaces `columns` of a row whose key is there already."""
    statement = _insert(session, table)
    keys = [column.name for column in table.__table__.primary_key]
    changes = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes)


def _insert(session: Session, table: type[Base]) -> Insert:
    insert = postgresql.insert if is_postgresql(session) else sqlite.insert
    return insert(table)
