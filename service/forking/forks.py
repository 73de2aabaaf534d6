"""A nursery's process: it has loaded what its children need and forks one for each that is asked for.

It runs one thread of its own, so that a fork copies all there is, and reads no byte of a child's lines. It is handed
the child's ends: the last is that of its life, the one before its standard error, the others are for the child. On the
line of life it says `begun`, the child's process id (0 where there is no process to be had) and at last how the child
ended (negative: by that signal); the child is killed once the owner's end of it is shut.
"""

import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import NoReturn

from service.processes import die_with_parent

_READ_BYTES = 2**16
_STANDARD_ERROR = 2


def serve(load: Callable[[], None], live: Callable[[Sequence[int]], None], *, lines: int) -> None:
    """Load, then fork for the process at the other end of the socket whose number is the first argument.

    A child of so many `lines` has their numbers for `live`, all but the last two; it ends when `live` does.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    door = socket.socket(fileno=int(sys.argv[1]))
    load()
    gc.freeze()  # what is loaded stays: no collection in a child looks at it, and so copies it
    with suppress(ConnectionError):  # the owner has gone already
        door.sendall(b"!")
        Forks(door, live, lines).serve()


class Forks:
    """The living children, each with the line on which its owner hears of its life."""

    def __init__(self, door: socket.socket, live: Callable[[Sequence[int]], None], lines: int) -> None:
        self._door, self._live, self._count = door, live, lines
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
        _, handed, _, _ = socket.recv_fds(self._door, 1, self._count)
        if not handed:
            self._end()
        *own, complaint, last = handed
        life = socket.socket(fileno=last)
        if _is_shut(life):
            life.close()
        else:
            self._fork(own, complaint, life)
        for number in (*own, complaint):
            os.close(number)

    def _fork(self, own: Sequence[int], complaint: int, life: socket.socket) -> None:
        _tell(life, "begun ")
        try:
            pid = os.fork()
        except OSError as error:
            os.write(complaint, f"{error} (fork)".encode())
            pid = None
        if pid == 0:
            self._be_child(own, complaint, life)
        if pid is None:
            _tell(life, f"0 {os.EX_OSERR}")
            life.close()
            return
        _tell(life, f"{pid} ")
        self._lives[pid] = life
        self._selector.register(life, selectors.EVENT_READ, partial(self._kill, pid, life))

    def _be_child(self, own: Sequence[int], complaint: int, life: socket.socket) -> NoReturn:
        """Do the one piece of work, and end whatever happens."""
        code = 1
        try:
            os.dup2(complaint, _STANDARD_ERROR)
            os.close(complaint)
            life.close()
            die_with_parent()
            self._forget()
            self._live(own)
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may return into the nursery's own loop
            traceback.print_exc()
        finally:
            with suppress(OSError):  # nobody reads it any more, or there is no room
                sys.stdout.flush()
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


def _is_shut(life: socket.socket) -> bool:
    """Say whether nobody waits for a child before it begins: an owner says nothing, so that all there is is the end."""
    life.setblocking(False)
    try:
        return not life.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        life.setblocking(True)


def _tell(life: socket.socket, word: str) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it any more
        life.sendall(word.encode())
