"""A child process seen from its worker: start it, read what it says, tell it to stop, kill it."""

import os
import selectors
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.messages import Assignment, Message, decode
from worker.relay import Relay

_READ = 1 << 16
_TAIL = 4000
_LAST_WORDS = 1 << 16


class EngineProcess:
    """One child. Leaving the context kills it if it still runs."""

    def __init__(self, assignment: Assignment, environment: Mapping[str, str]) -> None:
        self._log = Path(assignment.folder) / "engine.log"
        self._pipe, write_end = os.pipe()
        os.set_blocking(self._pipe, False)
        self._rest = b""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.child", str(write_end)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
                env=environment,
                start_new_session=True,
            )
        os.close(write_end)
        self._relay = Relay(self._log)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._tell(assignment.model_dump_json())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._relay.end()
        with suppress(BrokenPipeError):  # it has ended without reading what it was told last
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._selector.close()
        os.close(self._pipe)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def messages(self, timeout: float) -> list[Message]:
        """Give what the child has said, waiting up to `timeout` seconds for something; its log is passed on."""
        self._selector.select(timeout)
        self._relay.pass_on()
        lines = (self._rest + self._read_all()).split(b"\n")
        self._rest = lines.pop()
        return [decode(line) for line in lines]

    def exit_code(self) -> int | None:
        """Give how it ended (negative: by that signal); None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Tell it to write a checkpoint and end."""
        self._tell("stop")

    def kill(self) -> None:
        """End it now, whatever it does."""
        self._process.kill()
        self._process.wait()

    def log_tail(self, most_bytes: int = _TAIL) -> str:
        """Give the end of what it printed."""
        return self._log.read_bytes()[-most_bytes:].decode(errors="replace")

    def last_words(self) -> str:
        """Give what it printed last, and before that: where a process aborts, the stacks of its threads come after."""
        return self.log_tail(_LAST_WORDS)

    def _tell(self, line: str) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()
        except BrokenPipeError:
            return  # it has ended already; `exit_code` says how

    def _read_all(self) -> bytes:
        parts = []
        while part := self._read_some():
            parts.append(part)
        return b"".join(parts)

    def _read_some(self) -> bytes:
        try:
            return os.read(self._pipe, _READ)
        except BlockingIOError:
            return b""
