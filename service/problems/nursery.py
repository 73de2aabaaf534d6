"""The nursery: one warm process of this process's own, which forks a child for each request that parses.

Starting Python and loading numpy, scipy and pydantic takes a second; forking a process that has them takes
milliseconds. The nursery is started when it is first needed, and again when it has died. It ends with this process,
however that ends: with it ends the socket between them. `forks` is what it runs.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading

from service.logging import log
from service.problems.lines import LOST, Ended, Lines, laid
from service.processes import end

_SECRET = ("AWS_", "L0_", "PG")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0


class Nursery:
    """The nursery's process, as its owner sees it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None before it is needed."""
        return None if self._process is None else self._process.pid

    def ask(self, request: bytes, seconds: float) -> Ended:
        """Give what a child of its own makes of a request; TimeoutError after `seconds`, with the child killed.

        A nursery that dies before the child begins is started anew, once; a child whose nursery dies is lost.
        """
        for _ in range(2):
            with laid() as lines:
                self._hand_over(lines)
                ended = lines.ask(request, seconds)
            if ended is not None:
                return ended
        return LOST

    def end(self) -> None:
        """End it, and with it its children."""
        with self._lock:
            self._end()

    def disown(self) -> None:
        """Let go of it, in a process that was forked from its owner: there it stays."""
        if self._door is not None:
            self._door.close()
        if self._process is not None:
            self._process.returncode = 0  # another's child is not waited for
        self._lock, self._process, self._door = threading.Lock(), None, None

    def _hand_over(self, lines: Lines) -> None:
        with self._lock:
            try:
                lines.hand_over(self._open_door())
            except OSError as error:  # it died just now, takes nothing any more, or did not start
                log.warning("nursery_lost", reason=str(error))
                self._end()

    def _open_door(self) -> socket.socket:
        if self._door is None or _is_shut(self._door):
            self._end()
            self._door, theirs = socket.socketpair()
            with theirs:
                self._process = _started(theirs.fileno())
            self._door.settimeout(_START_SECONDS)
            if not self._door.recv(1):
                raise ConnectionError("it ended before it was ready")
            self._door.setblocking(False)
        return self._door

    def _end(self) -> None:
        if self._door is not None:
            self._door.close()
        if self._process is not None:
            end(self._process, _STOP_SECONDS)
        self._process = self._door = None


def _started(door: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "service.problems.forks", str(door)],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(door,),
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    """Give this process's environment without the keys to store and database: a child reads untrusted bytes."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)} | _ONE_THREAD


def _is_shut(door: socket.socket) -> bool:
    """Say whether the nursery has died: it says nothing once it is ready, so that all there is to read is the end."""
    try:
        door.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:  # the end, with something unread
        return True
    return True


nursery = Nursery()
atexit.register(nursery.end)
os.register_at_fork(after_in_child=nursery.disown)
