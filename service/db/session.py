"""Transactions. This is the only place that commits, and the only one that knows how each database begins."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import Session

UNAVAILABLE = (OperationalError, InternalError, InterfaceError, NoConnectionFree)  # raised where a database is away
_AFTER_COMMIT = "l0_after_commit"
_BUSY_MILLISECONDS = 10_000
_IDLE_SECONDS = 5.0
_POOL: dict[str, Any] = {"hide_parameters": True, "pool_size": 10, "max_overflow": 30, "json_deserializer": from_json}
_READS: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
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
    """One database and its connections: some begin a transaction that writes, the others only read.

    A read is one statement on the wire: no BEGIN before it, no ROLLBACK after it. Two reads of a session may see what
    was committed between them, as on PostgreSQL they would anyway.
    """

    def __init__(self, url: str) -> None:
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine, self._reader = _sqlite(url) if is_sqlite else _server(url)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session that writes: committed at the end, rolled back on an exception."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session
            session.commit()
        for callback in session.info.pop(_AFTER_COMMIT, []):
            callback()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that only reads."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    def check_writable(self) -> None:
        """Open and end a writing transaction; raises where the database is gone, locked or read-only."""
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET version = version WHERE id = ''"))

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        self._reader.dispose()


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Call `callback` once the session's transaction is committed, and never otherwise."""
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


def is_full(error: Exception) -> bool:
    """Say whether a database has refused to write because its disk is full."""
    if not isinstance(error, DBAPIError):
        return False
    told = getattr(error.orig, "sqlite_errorcode", None) or getattr(error.orig, "sqlstate", None)
    return told in (sqlite3.SQLITE_FULL, _POSTGRESQL_DISK_FULL)


def _server(url: str) -> tuple[Engine, Engine]:
    writer = create_engine(url, pool_pre_ping=True, connect_args=_CONNECTION, **_POOL)
    reader = create_engine(url, connect_args=_CONNECTION, **_READS, **_POOL)
    _try_idle_connections(reader)
    return writer, reader


def _try_idle_connections(engine: Engine) -> None:
    """Try a connection that has lain idle before it is used again: one that is gone is replaced."""

    def left(_: Any, record: Any) -> None:
        record.info["left_at"] = time.monotonic()

    def taken(connection: Any, record: Any, _: object) -> None:
        if time.monotonic() - record.info.get("left_at", time.monotonic()) > _IDLE_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise DisconnectionError(str(error)) from error

    event.listen(engine, "checkin", left)
    event.listen(engine, "checkout", taken)


def _sqlite(url: str) -> tuple[Engine, Engine]:
    database = make_url(url).database
    if database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    patience: dict[str, Any] = {"connect_args": {"timeout": _BUSY_MILLISECONDS / 1000}}
    writer = create_engine(url, **patience, **_POOL)
    reader = create_engine(url, **patience, **_READS, **_POOL)
    event.listen(writer, "connect", _prepare_sqlite)
    event.listen(reader, "connect", _prepare_sqlite)
    event.listen(writer, "begin", _begin_sqlite)
    return writer, reader


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transaction of its own: _begin_sqlite does
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MILLISECONDS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: a later upgrade of a lock that reads would fail with "locked"."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def is_postgresql(session: Session) -> bool:
    """Say whether the session is PostgreSQL's; else it is SQLite's."""
    return session.get_bind().dialect.name == "postgresql"
