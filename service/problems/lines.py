"""What connects a request with the child that answers it: three pairs of sockets, one end of each handed over.

`talk` carries the request and the reply, `complaint` is the child's standard error; `service/forking/forks.py` says
what `life` is.
"""

import selectors
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from service.forking import lives

_KILL_SECONDS = 10.0
_READ_BYTES = 2**16


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a child leaves: how it ended (negative: by that signal), its reply, and what it complained of."""

    code: int
    reply: bytes
    complaint: bytes


LOST = Ended(code=-signal.SIGKILL, reply=b"", complaint=b"")


@dataclass(frozen=True, kw_only=True)
class Lines:
    """The lines of one request: our ends, and those to be handed over."""

    talk: socket.socket
    complaint: socket.socket
    life: socket.socket
    theirs: tuple[socket.socket, ...]

    @property
    def numbers(self) -> list[int]:
        """The other ends, for the nursery."""
        return [line.fileno() for line in self.theirs]

    def ask(self, request: bytes, seconds: float) -> Ended | None:
        """Give how the child ended, None where none has begun; TimeoutError after `seconds`, with the child killed."""
        for line in self.theirs:
            line.close()
        limit = time.monotonic() + seconds
        self._say(request, seconds)
        heard = {line: bytearray() for line in (self.talk, self.complaint, self.life)}
        with selectors.DefaultSelector() as selector:
            for line, bytes_heard in heard.items():
                selector.register(line, selectors.EVENT_READ, (line, bytes_heard))
            if not _heard_out(selector, limit):
                self.life.shutdown(socket.SHUT_WR)
                _heard_out(selector, time.monotonic() + _KILL_SECONDS)
                raise TimeoutError
        return self._ended(heard)

    def _say(self, request: bytes, seconds: float) -> None:
        self.talk.settimeout(seconds)
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):  # `life` tells why nobody listens
            self.talk.sendall(request)
            self.talk.shutdown(socket.SHUT_WR)

    def _ended(self, heard: dict[socket.socket, bytearray]) -> Ended | None:
        life = lives.read(bytes(heard[self.life]), over=True)
        if life is None or life.code is None:
            return None
        return Ended(code=life.code, reply=bytes(heard[self.talk]), complaint=bytes(heard[self.complaint]))


@contextmanager
def laid() -> Iterator[Lines]:
    """Give the lines of one request, for the time of the context."""
    with ExitStack() as stack:
        pairs = [[stack.enter_context(line) for line in socket.socketpair()] for _ in range(3)]
        (talk, complaint, life), theirs = zip(*pairs, strict=True)
        yield Lines(talk=talk, complaint=complaint, life=life, theirs=theirs)


def _heard_out(selector: selectors.BaseSelector, limit: float) -> bool:
    """Hear every line until it ends; False where the clock has come to `limit` before."""
    while selector.get_map():
        ready = selector.select(max(0.0, limit - time.monotonic()))
        if not ready:
            return False
        for key, _ in ready:
            line, heard = key.data
            some = _read(line)
            heard.extend(some)
            if not some:
                selector.unregister(line)
    return True


def _read(line: socket.socket) -> bytes:
    try:
        return line.recv(_READ_BYTES)
    except ConnectionResetError:  # the end, with something unread
        return b""
