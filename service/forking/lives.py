"""What an owner hears of a child's life, on the line whose other end its nursery has; `forks` says it."""

import selectors
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

_READ_BYTES = 2**8
KILLED = -signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class Life:
    """A child's process id and how it ended (negative: by that signal); each None until it is told."""

    pid: int | None = None
    code: int | None = None


def read(words: bytes, *, over: bool) -> Life | None:
    """Give what the words heard so far tell, None where no child has begun; `over` once no more can come.

    >>> read(b"begun 17 ", over=False), read(b"begun 17 -9", over=True), read(b"", over=True)
    (Life(pid=17, code=None), Life(pid=17, code=-9), None)

    A child whose nursery died, and so said no more, was killed with it.

    >>> read(b"begun 17 ", over=True)
    Life(pid=17, code=-9)
    """
    if not words:
        return None
    told = words.removeprefix(b"begun").split(b" ")[1:]
    pid = int(told[0]) if len(told) > 1 else None
    if not over:
        return Life(pid=pid)
    return Life(pid=pid, code=int(told[1]) if pid is not None and told[1] else KILLED)


class LifeLine:
    """Our end of the line of one child, looked at now and then."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self._line, self._words, self._over = line, b"", False

    def fileno(self) -> int:
        """Give its number: to be read where there is news."""
        return self._line.fileno()

    @property
    def life(self) -> Life:
        """What is known of the child by now; one that never began, and never will, was killed with its nursery."""
        while not self._over and (said := self._said()) is not None:
            self._words += said
            self._over = not said
        return read(self._words, over=self._over) or Life(code=KILLED if self._over else None)

    def cut(self, seconds: float) -> bool:
        """Have the child killed; False where nobody says within `seconds` that it is dead."""
        with suppress(OSError):  # the other end is shut already
            self._line.shutdown(socket.SHUT_WR)
        self._over = self._over or self.life == Life()  # one that has not begun never will
        limit = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._line, selectors.EVENT_READ)
            while self.life.code is None and (left := limit - time.monotonic()) > 0:
                selector.select(left)
        return self.life.code is not None

    def close(self) -> None:
        """Hear no more of it."""
        self._line.close()

    def _said(self) -> bytes | None:
        """Give what is new, nothing at the end; None where there is nothing new."""
        try:
            return self._line.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        except ConnectionResetError:  # the end, with something unread
            return b""
