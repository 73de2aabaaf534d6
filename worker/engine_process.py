"""A child process seen from its worker: have it forked, read what it says, tell it to stop, kill it."""

import json
import os
import selectors
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from service.forking.lives import LifeLine
from service.forking.nursery import Nursery
from service.logging import log
from worker.messages import Assignment, Message, decode
from worker.relay import Relay

_READ = 1 << 16
_TAIL = 4000
_LAST_WORDS = 1 << 16
_SILENCE_SECONDS = 10.0  # of a nursery, after a child has ended or is to be killed

engines = Nursery("worker.forks", lambda: os.environ).owned()


class EngineProcess:
    """One child. Leaving the context kills it if it still runs."""

    def __init__(self, assignment: Assignment, environment: Mapping[str, str], nursery: Nursery = engines) -> None:
        self._log, self._nursery, self._rest = Path(assignment.folder) / "engine.log", nursery, b""
        self._closed_at: float | None = None
        self._pipe, self._input, self._line = self._begun()
        self._relay = Relay(self._log)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._tell(json.dumps(dict(environment)))
        self._tell(assignment.model_dump_json())

    def _begun(self) -> tuple[int, IO[bytes], LifeLine]:
        """Have it forked; gives our ends: of what it reports, of its input, and of its life."""
        (pipe, report), (told, own), (line, life) = os.pipe(), os.pipe(), socket.socketpair()
        with life, self._log.open("ab") as written:
            theirs = [told, report, written.fileno(), life.fileno()]
            handed = any(self._nursery.hand_over(theirs) for _ in range(2))
        for number in (told, report):
            os.close(number)
        os.set_blocking(pipe, False)
        if not handed:
            for number in (pipe, own):
                os.close(number)
            line.close()
            raise OSError("no process for an engine is to be had")
        return pipe, os.fdopen(own, "wb"), LifeLine(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._relay.end()
        self._selector.close()
        self._line.close()
        with suppress(BrokenPipeError):  # it has ended without reading what it was told last
            self._input.close()
        os.close(self._pipe)

    @property
    def pid(self) -> int | None:
        """The child's process id; None before it has begun."""
        return self._line.life.pid

    def messages(self, timeout: float) -> list[Message]:
        """Give what the child has said, waiting up to `timeout` seconds for something; its log is passed on."""
        self._selector.select(timeout)
        self._relay.pass_on()
        lines = (self._rest + self._read_all()).split(b"\n")
        self._rest = lines.pop()
        return [decode(line) for line in lines]

    def exit_code(self) -> int | None:
        """Give how it ended (negative: by that signal); None while it runs."""
        if self._closed_at is not None and time.monotonic() - self._closed_at > _SILENCE_SECONDS:
            self._make_sure()
        return self._line.life.code

    def ask_to_stop(self) -> None:
        """Tell it to write a checkpoint and end."""
        self._tell("stop")

    def kill(self) -> None:
        """End it now, whatever it does."""
        if self._line.life.code is None:
            self._make_sure()

    def log_tail(self, most_bytes: int = _TAIL) -> str:
        """Give the end of what it printed."""
        return self._log.read_bytes()[-most_bytes:].decode(errors="replace")

    def last_words(self) -> str:
        """Give what it printed last, and before that: where a process aborts, the stacks of its threads come after."""
        return self.log_tail(_LAST_WORDS)

    def _make_sure(self) -> None:
        """Have it dead, and its nursery with it where that does nothing about it."""
        if not self._line.cut(_SILENCE_SECONDS):
            log.warning("nursery_silent", pid=self.pid)
            self._nursery.end()
            self._line.cut(_SILENCE_SECONDS)

    def _tell(self, line: str) -> None:
        try:
            self._input.write(line.encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            return  # it has ended already; `exit_code` says how

    def _read_all(self) -> bytes:
        parts = []
        while part := self._read_some():
            parts.append(part)
        return b"".join(parts)

    def _read_some(self) -> bytes:
        try:
            some = os.read(self._pipe, _READ)
        except BlockingIOError:
            return b""
        if not some and self._closed_at is None:
            self._closed_at = time.monotonic()
            self._selector.unregister(self._pipe)
            self._selector.register(self._line, selectors.EVENT_READ)
        return some
