"""Real worker processes and brokers of a test's own, to be killed."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from service.embedded_broker import command
from service.processes import end, spawn
from service.system import System
from tests.service.jobs.waiting import until
from tests.worker.runs import engine_of, first_checkpoint

WORKER = (sys.executable, "-m", "worker")
_STOP_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class WorkerProcess:
    """One `python -m worker` and where it logs."""

    popen: "subprocess.Popen[bytes]"
    log: Path

    @property
    def process(self) -> psutil.Process:
        """The process, to be looked at."""
        return psutil.Process(self.popen.pid)

    @property
    def engine(self) -> psutil.Process | None:
        """The engine it runs just now."""
        return None if self.popen.poll() is not None else engine_of(self.process)


@contextmanager
def workers(
    system: System, count: int, *, name: str = "worker", variables: Mapping[str, str] | None = None
) -> Iterator[list[WorkerProcess]]:
    """Run that many workers for the time of the context; each that still runs at its end is told to end."""
    with ExitStack() as stack:
        names = [f"{name}-{number}" for number in range(count)]
        yield [stack.enter_context(running_worker(system, each, variables=variables)) for each in names]


@contextmanager
def running_worker(
    system: System, name: str, command: Sequence[str] = WORKER, *, variables: Mapping[str, str] | None = None
) -> Iterator[WorkerProcess]:
    """Run one worker, or a program that becomes one, for the time of the context."""
    log = system.settings.data_dir / f"{name}.log"
    environment = {**system.settings.environment(), **(variables or {})}
    with log.open("wb") as output:
        popen = spawn(command, environment=environment, stdout=output, stderr=output)
    try:
        yield WorkerProcess(popen=popen, log=log)
    finally:
        end(popen, _STOP_SECONDS)


def holder(system: System, job_id: str, among: list[WorkerProcess]) -> tuple[WorkerProcess, psutil.Process]:
    """Give the worker whose engine has written a checkpoint of the job, and that engine."""
    until(lambda: first_checkpoint(system, job_id))
    for worker in among:
        engine = worker.engine
        if engine is not None:
            return worker, engine
    raise LookupError("no worker runs an engine")


class Broker:
    """A broker of the test's own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self.socket = folder, folder / "own.sock"
        self.url = f"redis+socket://{self.socket}"
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        started = command(self._folder, self.socket)
        self.process = spawn(started, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers)

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def forget_everything(self) -> None:
        """Lose all messages."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            client.flushall()

    def cut_all_connections(self) -> None:
        """Cut the connection of everybody else."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def _answers(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
