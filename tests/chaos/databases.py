"""The two databases of a deployment, and what can befall them."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tests.servers import Postgres, own_postgres, resume

Repair = Callable[[], None]


class DatabaseServer(Protocol):
    """A database that can stand still or crash."""

    @property
    def url(self) -> str:
        """Its SQLAlchemy URL."""
        ...

    def freeze(self) -> Repair:
        """Let it serve nobody; gives what ends that."""
        ...

    def crash(self) -> Repair:
        """Let it die; gives what brings it back."""
        ...


class SqliteFile:
    """One file: it stands still while somebody else holds its lock, and dies only with its processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"

    def freeze(self) -> Repair:
        """Take the only writer's place."""
        holder = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        with suppress(sqlite3.OperationalError):  # somebody writes all the time: then it is no pause
            holder.execute("BEGIN IMMEDIATE")
        return holder.close

    crash = freeze


class PostgresServer:
    """A server process with its children."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self.url = server.url

    def freeze(self) -> Repair:
        """Stop every process of the server."""
        frozen = self._server.freeze()
        return lambda: resume(frozen)

    def crash(self) -> Repair:
        """End it as a crash does."""
        self._server.crash()
        return self._server.start


@contextmanager
def database_server(kind: str, folder: Path) -> Iterator[DatabaseServer]:
    """Run a database for the time of the context: `sqlite` or `postgresql`."""
    if kind == "sqlite":
        yield SqliteFile(folder / "l0.db")
        return
    with own_postgres() as server:
        yield PostgresServer(server)
