"""The nursery's process: it loads what parsing needs and forks a child for each request. It knows no database.

It runs one thread, so that a fork copies all there is, and reads no byte of a request: that is the child's. What it is
handed stands in `lines`, what a child does in `child`. Arrow is not loaded here, because it starts threads.
"""

import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import FrameType
from typing import NoReturn

from l0core.kinds import KINDS
from service.problems import child
from service.processes import die_with_parent

_READERS = ("npy", "npz", "matrix_market", "safetensors")
_READ_BYTES = 2**16
_STANDARD_ERROR = 2


class Forks:
    """The living children, each with the line on which its owner hears of its life."""

    def __init__(self, door: socket.socket) -> None:
        self._door = door
        self._lives: dict[int, socket.socket] = {}
        self._deaths, self._bell = socket.socketpair()
        self._bell.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(door, selectors.EVENT_READ, self._begin)
        self._selector.register(self._deaths, selectors.EVENT_READ, self._bury)
        signal.signal(signal.SIGCHLD, _heard_by_the_bell)
        signal.set_wakeup_fd(self._bell.fileno())

    def serve(self) -> None:
        """Fork a child for each that is asked for, until the owner has gone."""
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _begin(self) -> None:
        _, handed, _, _ = socket.recv_fds(self._door, 1, 3)
        if not handed:
            self._end()
        talk, complaint, life = (socket.socket(fileno=number) for number in handed)
        with talk, complaint:
            _tell(life, "begun ")
            try:
                pid = os.fork()
            except OSError as error:
                complaint.sendall(f"{error} (fork)".encode())
                _tell(life, str(os.EX_OSERR))
                life.close()
                return
            if pid == 0:
                self._live(talk, complaint, life)
        self._lives[pid] = life
        self._selector.register(life, selectors.EVENT_READ, partial(self._kill, pid, life))

    def _live(self, talk: socket.socket, complaint: socket.socket, life: socket.socket) -> NoReturn:
        """Be the child: answer the one request, and end whatever happens."""
        code = 1
        try:
            os.dup2(complaint.fileno(), _STANDARD_ERROR)
            die_with_parent()
            self._forget()
            for line in (complaint, life):
                line.close()
            request = b"".join(iter(partial(talk.recv, _READ_BYTES), b""))
            talk.sendall(child.answer(request))
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may return into the nursery's own loop
            traceback.print_exc()
        finally:
            os._exit(code)

    def _forget(self) -> None:
        """Close, in a child, what is the nursery's and other children's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for line in (self._door, self._deaths, self._bell, *self._lives.values()):
            line.close()
        self._selector.close()

    def _kill(self, pid: int, life: socket.socket) -> None:
        """Kill a child that nobody waits for any more, unless it is dead and its number perhaps another's."""
        if self._lives.get(pid) is life:
            self._selector.unregister(life)
            os.kill(pid, signal.SIGKILL)

    def _bury(self) -> None:
        """Tell the owners of the dead how they ended."""
        self._deaths.recv(_READ_BYTES)
        while self._lives:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            life = self._lives.pop(pid)
            if life in self._selector.get_map():
                self._selector.unregister(life)
            _tell(life, str(os.waitstatus_to_exitcode(status)))
            life.close()

    def _end(self) -> NoReturn:
        for pid in self._lives:
            os.kill(pid, signal.SIGKILL)
        sys.exit()


def _heard_by_the_bell(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the signal's number is a byte in the bell already."""


def _tell(life: socket.socket, word: str) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it any more
        life.sendall(word.encode())


def _load() -> None:
    """Load what a child would load late."""
    for kind in KINDS.values():
        kind.problem_type()
        if kind.question is not None:
            kind.question.answerer()
    for reader in _READERS:
        import_module(f"service.problems.formats.{reader}")


def main() -> None:
    """Serve the process at the other end of the socket whose number is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    door = socket.socket(fileno=int(sys.argv[1]))
    _load()
    gc.freeze()  # what is loaded stays: no collection in a child looks at it, and so copies it
    with suppress(ConnectionError):  # the owner has gone already
        door.sendall(b"!")
        Forks(door).serve()


if __name__ == "__main__":
    main()
