"""Child processes that are started again when they die, and the socket that outlives them."""

import socket
import subprocess
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from service.logging import log
from service.processes import end, spawn
from service.settings import Settings

_LONGEST_PAUSE = 10.0
_STEADY_SECONDS = 30.0  # a child that lived this long is restarted at once


class StartFailed(Exception):
    """A part of the service did not come up."""


@dataclass
class Child:
    """One kind of process to keep alive."""

    name: str
    command: list[str]
    settings: Settings
    log_folder: Path | None
    stop_seconds: float
    pass_fds: tuple[int, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    pause: float = 0.0
    _restart_at: float = field(default=0.0, repr=False)

    def start(self) -> None:
        """Start the process; what it prints goes to its log, or without a folder for logs where ours goes."""
        with self._output() as output:
            self.process = spawn(
                self.command,
                environment=self.settings.environment(),
                stdout=output,
                stderr=output,
                pass_fds=self.pass_fds,
            )
        self.started_at = time.monotonic()

    def keep_alive(self) -> None:
        """Start the process again where it has died, at growing intervals where it dies at once."""
        if self.process is None or self.process.poll() is None:
            return
        now = time.monotonic()
        if not self._restart_at:
            self.pause = 0.0 if now - self.started_at > _STEADY_SECONDS else min(2 * self.pause + 0.25, _LONGEST_PAUSE)
            self._restart_at = now + self.pause
            log.warning("child_died", name=self.name, code=self.process.returncode, restart_in=self.pause)
        if now >= self._restart_at:
            self._restart_at = 0.0
            self.start()

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            end(self.process, self.stop_seconds)

    def _output(self) -> AbstractContextManager[IO[bytes] | None]:
        if self.log_folder is None:
            return nullcontext()
        self.log_folder.mkdir(parents=True, exist_ok=True)
        return (self.log_folder / f"{self.name}.log").open("ab")


def listen(settings: Settings) -> socket.socket:
    """Open the API's socket in the parent, so that its address is known and outlives a restart of the API."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise StartFailed(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; try --port 0"
        ) from error
    listener.listen(512)
    return listener
