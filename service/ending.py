"""Being told to end, by Ctrl-C or a signal, without an exception where nobody expects one.

A handler that raises does so between any two instructions. Thrown into the start of an extension module, a weak
reference's callback or a `__del__`, the exception is dropped there and the program goes on as if nobody had asked.
So what only loads leaves Ctrl-C to the kernel, and what runs remembers that it was told and is interrupted only
where it waits.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from l0core.loading import only_loading

__all__ = ["Ended", "Ending", "only_loading", "told_by_signals"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ended(BaseException):
    """Raised where this process is told to end."""


class Ending:
    """Whether this process was told to end."""

    def __init__(self) -> None:
        self._told = False
        self._waits = False

    def check(self) -> None:
        """Raise Ended where this process was told to end."""
        if self._told:
            raise Ended

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Raise Ended in here as soon as this process is told, and at the end should somebody have dropped it."""
        self._waits = True
        try:
            self.check()
            yield
        finally:
            self._waits = False
        self.check()

    def tell(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        self._told = True
        if self._waits:
            raise Ended


@contextmanager
def told_by_signals() -> Iterator[Ending]:
    """Give what SIGTERM, SIGHUP and Ctrl-C tell; outside `waiting` they interrupt nothing."""
    ending = Ending()
    before = {number: signal.signal(number, ending.tell) for number in _SIGNALS}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
