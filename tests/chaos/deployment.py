"""What a storm passes over: a whole deployment in real processes, each started again when it dies."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

from service.db.migrate import upgrade
from service.processes import end, spawn
from service.settings import Settings
from service.system import System
from tests.chaos.databases import DatabaseServer, database_server
from tests.faults.processes import Broker as OwnBroker
from tests.services import MARK, new_mark

QUICK = {  # the same rules on a shorter clock; the defaults: `docs/settings.md`
    "lease_seconds": 4.0,
    "renew_seconds": 1.0,
    "reap_seconds": 1.0,
    "republish_seconds": 3.0,
    "checkpoint_seconds": 0.5,
    "flush_seconds": 0.2,
    "stop_seconds": 5.0,
    "orphan_hours": 20.0 / 3600,
    "orphan_sweep_seconds": 5.0,
}
_STOP_SECONDS = 60


class Part(Protocol):
    """A program of a deployment that comes back when it dies."""

    @property
    def name(self) -> str:
        """What it is called in a report."""
        ...

    @property
    def starts(self) -> int:
        """How often it was started."""
        ...

    @property
    def process(self) -> psutil.Process:
        """The process, to be stopped or killed; `psutil.NoSuchProcess` where there is none just now."""
        ...

    def keep_alive(self) -> None:
        """Start it again where it has ended and nobody else does."""
        ...


class Broker(Protocol):
    """A broker that can die and forget."""

    def kill(self) -> None:
        """Kill it."""
        ...

    def start(self) -> None:
        """Start it again where nobody else does."""
        ...

    def forget_everything(self) -> None:
        """Lose all messages."""
        ...


@dataclass(kw_only=True)
class OwnPart:
    """One process of ours."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str]
    pass_fds: tuple[int, ...] = ()
    starts: int = 0
    popen: "subprocess.Popen[bytes]" = field(init=False)

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as output:
            self.popen = spawn(
                self.command, environment=self.environment, stdout=output, stderr=output, pass_fds=self.pass_fds
            )
        self.starts += 1

    def keep_alive(self) -> None:
        """Start it again where it has ended."""
        if self.popen.poll() is not None:
            self.start()

    def stop(self) -> None:
        """Tell it to end."""
        end(self.popen, _STOP_SECONDS)

    @property
    def process(self) -> psutil.Process:
        """The process, to be stopped or killed."""
        if self.popen.poll() is not None:
            raise psutil.NoSuchProcess(self.popen.pid)
        return psutil.Process(self.popen.pid)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Two APIs on ports that outlive them, workers, a broker, a database."""

    mark: str
    urls: list[str]
    apis: Sequence[Part]
    workers: Sequence[Part]
    broker: Broker
    database: DatabaseServer
    system: System

    @property
    def parts(self) -> list[Part]:
        """Every process that is started again when it dies."""
        return [*self.apis, *self.workers]

    def keep_alive(self) -> None:
        """Start again what has ended."""
        for part in self.parts:
            part.keep_alive()


@contextmanager
def deployment(kind: str, folder: Path, *, workers: int = 3, apis: int = 2) -> Iterator[Deployment]:
    """Run a deployment on SQLite or PostgreSQL for the time of the context."""
    with ExitStack() as stack:
        database = stack.enter_context(database_server(kind, folder))
        upgrade(database.url)
        broker = OwnBroker(folder / "broker")
        stack.callback(lambda: end(broker.process, 10))
        settings = Settings(data_dir=folder, database_url=database.url, broker_url=broker.url).model_copy(update=QUICK)
        system = System.open(settings)
        stack.callback(system.database.dispose)
        mark = new_mark()
        environment = {**settings.environment(), MARK: mark}
        listeners = [stack.enter_context(_listener()) for _ in range(apis)]
        own_apis = [_api(number, listener, folder, environment) for number, listener in enumerate(listeners)]
        own_workers = [_worker(number, folder, environment) for number in range(workers)]
        for part in [*own_apis, *own_workers]:
            part.start()
            stack.callback(part.stop)
        yield Deployment(
            mark=mark,
            urls=[f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners],
            apis=own_apis,
            workers=own_workers,
            broker=broker,
            database=database,
            system=system,
        )


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    return listener


def _api(number: int, listener: socket.socket, folder: Path, environment: dict[str, str]) -> OwnPart:
    handle = listener.fileno()
    command = [sys.executable, "-m", "service.api.serve", str(handle)]
    name = f"api-{number}"
    return OwnPart(name=name, command=command, log=folder / f"{name}.log", environment=environment, pass_fds=(handle,))


def _worker(number: int, folder: Path, environment: dict[str, str]) -> OwnPart:
    name = f"worker-{number}"
    command = [sys.executable, "-m", "worker"]
    return OwnPart(name=name, command=command, log=folder / f"{name}.log", environment=environment)
