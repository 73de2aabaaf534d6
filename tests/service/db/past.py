"""Databases of earlier revisions with rows in every table, made by the types of the columns."""

from collections.abc import Iterator
from typing import Any

from alembic import command
from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, MetaData, Table, select

from service.db.migrate import config, upgrade
from service.db.revision import head, known
from service.db.session import Database

Rows = dict[str, list[dict[str, Any]]]
RELEASED = sorted(known())[:-1]  # every revision that a database may come from
OF_THIS_LINE = [revision for revision in RELEASED if revision[:2] == head()[:2]]  # whose programs go on
STATES = ("pending", "running", "succeeded", "failed", "cancelled")


def schema(database: Database) -> MetaData:
    """Give the tables as they are in the database."""
    found = MetaData()
    with database.reading() as session:
        found.reflect(session.connection())
    found.remove(found.tables["alembic_version"])
    return found


def fill(database: Database, tables: MetaData | None = None) -> Rows:
    """Put a row of each state into `jobs` and two into every other of the tables; gives what then is there."""
    tables = tables or schema(database)
    with database.transaction() as session:
        for table in tables.sorted_tables:
            for row in _made(table):
                session.execute(table.insert().values(row))
    return rows(database, tables)


def fill_what_is_new(database: Database, old: MetaData) -> int:
    """Put rows into tables that are not among the old ones, something into new columns; gives how many there are."""
    new = 0
    with database.transaction() as session:
        for table in schema(database).sorted_tables:
            if table.name not in old.tables:
                for row in _made(table):
                    session.execute(table.insert().values(row))
                    new += 1
                continue
            for column in table.columns:
                if column.name not in old.tables[table.name].columns:
                    session.execute(table.update().values({column.name: _value(column, 1)}))
                    new += 1
    return new


def rows(database: Database, tables: MetaData) -> Rows:
    """Give the content of these columns of these tables, in the order of their keys."""
    with database.reading() as session:
        return {
            table.name: [dict(row) for row in session.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in tables.sorted_tables
        }


def _made(table: Table) -> Iterator[dict[str, Any]]:
    for number in range(len(STATES) if table.name == "jobs" else 2):
        row = {column.name: _value(column, number) for column in table.columns}
        yield row | ({"status": STATES[number]} if table.name == "jobs" else {})


def _value(column: Column[Any], number: int) -> Any:
    """Give some value of the column's type; the first row has the nulls, keys lead to rows that are there."""
    if column.foreign_keys:
        return f"id-{number % 2}"
    if column.nullable and number == 0:
        return None
    if isinstance(column.type, JSON):
        return {"a": [number, None, "\u00e9"]}
    if isinstance(column.type, Boolean):
        return number % 2 == 0
    if isinstance(column.type, Float):
        return 1795849667.2920003 + number
    if isinstance(column.type, Integer):
        return 2**40 + number if isinstance(column.type, BigInteger) else number
    return f"id-{number}" if column.name == "id" else f"{column.name}-{number}"


def at(url: str, revision: str) -> Database:
    """Give an empty database of a revision."""
    upgrade(url, revision)
    return Database(url)


def down(url: str, revision: str) -> None:
    """Take a database back to a revision."""
    command.downgrade(config(url), revision)


def up(url: str) -> None:
    """Bring a database to the present."""
    upgrade(url, head())
