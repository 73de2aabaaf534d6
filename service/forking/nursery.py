"""A nursery: one warm process of this process's own, which forks a child for each piece of work.

Starting Python and loading libraries takes seconds; forking a process that has them takes milliseconds. A nursery is
started when it is first needed, and again when it has died. It ends with this process, however that ends: with it ends
the socket between them. `forks` is what it runs.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from service.logging import log
from service.processes import end

_STOP_SECONDS = 5.0


class Nursery:
    """A nursery's process, as its owner sees it; `module` is what it runs, with the environment of its start."""

    def __init__(self, module: str, environment: Callable[[], Mapping[str, str]]) -> None:
        self._module, self._environment = module, environment
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None
        self._is_ready = False

    @property
    def pid(self) -> int | None:
        """Its process id; None before it is needed."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it where it does not run; it gets ready beside whatever goes on here."""
        with self._lock:
            try:
                self._open_door()
            except OSError as error:
                self._lose(error)

    def hand_over(self, lines: Sequence[int], *, ready_within: float | None = None) -> bool:
        """Have a child begun that has these ends of lines, the last one that of its life; see `forks`.

        Waits so many seconds for a nursery that is not ready, or else lets the child begin as soon as it is. False
        where it died, takes nothing any more or did not start: it is started anew the next time.
        """
        with self._lock:
            try:
                door = self._open_door()
                if ready_within is not None:
                    self._await_ready(door, ready_within)
                socket.send_fds(door, [b"!"], lines)
            except OSError as error:
                self._lose(error)
                return False
        return True

    def end(self) -> None:
        """End it, and with it its children."""
        with self._lock:
            self._end()

    def owned(self) -> "Nursery":
        """Let it end with this process, and be let go of in a process that is forked from this one."""
        atexit.register(self.end)
        os.register_at_fork(after_in_child=self._disown)
        return self

    def _disown(self) -> None:
        if self._door is not None:
            self._door.close()
        if self._process is not None:
            self._process.returncode = 0  # another's child is not waited for
        self._lock, self._process, self._door = threading.Lock(), None, None

    def _lose(self, error: OSError) -> None:
        log.warning("nursery_lost", nursery=self._module, reason=str(error))
        self._end()

    def _open_door(self) -> socket.socket:
        if self._door is None or self._is_shut(self._door):
            self._end()
            self._door, theirs = socket.socketpair()
            self._door.setblocking(False)
            with theirs:
                self._process = self._started(theirs.fileno())
        return self._door

    def _is_shut(self, door: socket.socket) -> bool:
        """Say whether it has died; all it ever says is that it is ready."""
        try:
            while door.recv(1):
                self._is_ready = True
        except BlockingIOError:
            return False
        except ConnectionResetError:  # the end, with something unread
            return True
        return True

    def _await_ready(self, door: socket.socket, seconds: float) -> None:
        if self._is_ready:
            return
        door.settimeout(seconds)
        if not door.recv(1):
            raise ConnectionError("it ended before it was ready")
        self._is_ready = True
        door.setblocking(False)

    def _started(self, door: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", self._module, str(door)],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(door,),
            start_new_session=True,
        )

    def _end(self) -> None:
        if self._door is not None:
            self._door.close()
        if self._process is not None:
            end(self._process, _STOP_SECONDS)
        self._process, self._door, self._is_ready = None, None, False
