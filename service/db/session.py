"""Transactions. This is the only place that commits, and the only one that knows how each database begins."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

_WRITES = "l0_writes"
_AFTER_COMMIT = "l0_after_commit"
_BUSY_MILLISECONDS = 10_000
_POSTGRESQL_DISK_FULL = "53100"
_FROZEN_MILLISECONDS = 15_000  # half a lease: who stands still in a transaction loses it, and with it what it locks
_SERVER_SETTINGS = {"lock_timeout": _BUSY_MILLISECONDS, "idle_in_transaction_session_timeout": _FROZEN_MILLISECONDS}
_CONNECTION = {  # a server that vanished with its machine is noticed in seconds; libpq's own defaults take hours
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "options": " ".join(f"-c {name}={value}" for name, value in _SERVER_SETTINGS.items()),
}


class Database:
    """One database and its connections."""

    def __init__(self, url: str) -> None:
        self.engine = _sqlite(url) if make_url(url).get_backend_name() == "sqlite" else _server(url)
        self._writer = self.engine.execution_options(**{_WRITES: True})

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session that writes: committed at the end, rolled back on an exception."""
        with Session(self._writer, expire_on_commit=False) as session:
            yield session
            session.commit()
        for callback in session.info.pop(_AFTER_COMMIT, []):
            callback()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that only reads."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def check_writable(self) -> None:
        """Open and end a writing transaction; raises where the database is gone, locked or read-only."""
        with self._writer.begin() as connection:
            connection.execute(text("UPDATE jobs SET version = version WHERE id = ''"))

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Call `callback` once the session's transaction is committed, and never otherwise."""
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


def is_full(error: DBAPIError) -> bool:
    """Say whether a database has refused to write because its disk is full."""
    told = getattr(error.orig, "sqlite_errorcode", None) or getattr(error.orig, "sqlstate", None)
    return told in (sqlite3.SQLITE_FULL, _POSTGRESQL_DISK_FULL)


def _server(url: str) -> Engine:
    return create_engine(
        url, hide_parameters=True, connect_args=_CONNECTION, pool_pre_ping=True, pool_size=10, max_overflow=30
    )


def _sqlite(url: str) -> Engine:
    database = make_url(url).database
    if database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    timeout = {"timeout": _BUSY_MILLISECONDS / 1000}
    engine = create_engine(url, hide_parameters=True, connect_args=timeout, pool_size=10, max_overflow=30)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transaction of its own: _begin_sqlite does
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MILLISECONDS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once where the transaction writes: a later upgrade would fail with "locked"."""
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
