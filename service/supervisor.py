"""`l0 up`: broker, API and workers as child processes of one parent, restarted when they die, ended in order."""

import fcntl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import redis

from service import embedded_broker
from service.auth.guard import check_start
from service.children import Child, StartFailed, listen
from service.db.revision import migrate
from service.ending import Ended, Ending, told_by_signals
from service.gpu import cards_seen, shared_out
from service.settings import Settings

_POLL_SECONDS = 0.05
_START_SECONDS = 60.0


class Supervisor:
    """The parent of everything on one machine."""

    def __init__(self, settings: Settings, workers: int) -> None:
        check_start(settings)
        self._workers = workers
        self._listener = listen(settings)
        self._settings = settings.model_copy(update={"port": self._listener.getsockname()[1]})
        self._folder = settings.data_dir
        self._children: list[Child] = []

    @property
    def url(self) -> str:
        """Where the API answers."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"http://{host}:{self._settings.port}"

    def run(self, announce: Callable[[str], None]) -> None:
        """Start everything, tell the address, keep everything alive until told to end, end everything."""
        with (
            self._listener,
            _one_at_a_time(self._folder),
            told_by_signals() as ending,
            embedded_broker.socket_path(self._folder) as broker_socket,
        ):
            self._children = self._family(broker_socket)
            try:
                self._start(broker_socket, ending)
                announce(self.url)
                while True:
                    for child in self._children:
                        child.keep_alive()
                    with ending.waiting():
                        time.sleep(_POLL_SECONDS * 4)
            except Ended:
                pass
            finally:
                self._stop()

    def _start(self, broker_socket: Path, ending: Ending) -> None:
        broker, *others = self._children
        broker.start()
        with ending.waiting():
            self._wait("the broker", lambda: _broker_answers(broker_socket), ending)
            migrate(self._settings.database)
        for child in others:
            child.start()
        with ending.waiting():
            self._wait("the API", lambda: self._answers("/healthz"), ending)
            self._wait("a worker", lambda: self._answers("/readyz"), ending)

    def _stop(self) -> None:
        for child in reversed(self._children):
            child.stop()

    def _family(self, broker_socket: Path) -> list[Child]:
        self._settings = self._settings.model_copy(update={"broker_url": f"redis+socket://{broker_socket}"})
        broker = embedded_broker.command(self._folder, broker_socket)
        api = [sys.executable, "-m", "service.api.serve", str(self._listener.fileno())]
        worker = [sys.executable, "-m", "worker"]
        return [
            self._child("broker", broker, stop_seconds=10),
            self._child("api", api, stop_seconds=10, pass_fds=(self._listener.fileno(),)),
            *(
                self._child(f"worker-{number}", worker, stop_seconds=self._settings.stop_seconds + 10, serves=serves)
                for number, serves in enumerate(_serving(self._settings, self._workers), 1)
            ),
        ]

    def _child(
        self,
        name: str,
        command: list[str],
        *,
        stop_seconds: float,
        pass_fds: tuple[int, ...] = (),
        serves: Mapping[str, str] | None = None,
    ) -> Child:
        return Child(
            name=name,
            command=command,
            settings=self._settings.model_copy(update=serves),
            log_folder=self._folder / "logs",
            stop_seconds=stop_seconds,
            pass_fds=pass_fds,
        )

    def _wait(self, what: str, answers: Callable[[], bool], ending: Ending) -> None:
        limit = time.monotonic() + _START_SECONDS
        while not answers():
            ending.check()
            dead = [child.name for child in self._children if child.process and child.process.poll() is not None]
            if dead or time.monotonic() > limit:
                logs = (self._folder / "logs").resolve()
                raise StartFailed(f"{what} did not come up; the logs are in {logs}")
            time.sleep(_POLL_SECONDS)

    def _answers(self, path: str) -> bool:
        try:
            return httpx.get(self.url + path, timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def _serving(settings: Settings, workers: int) -> list[dict[str, str]]:
    """Give what each worker serves: both queues on a card of its own while there are cards, then the CPU.

    Where the settings say what, all serve that; a card they name is the first worker's.
    """
    if not {"worker_device", "worker_queues"} & settings.model_fields_set:
        return shared_out(workers, cards_seen())
    others = {"worker_device": "cpu", "worker_queues": "cpu"} if settings.worker_device.startswith("cuda") else {}
    return [{}, *(others for _ in range(workers - 1))]


def _broker_answers(socket_path: Path) -> bool:
    try:
        with redis.Redis(unix_socket_path=str(socket_path)) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Refuse a second supervisor on the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        _take(lock, folder)
        yield


def _take(lock: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartFailed(f"another `l0 up` runs on {folder.resolve()}; end it, or use another --data") from None
