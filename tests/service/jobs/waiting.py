"""Waiting for a state, generously: a test says what must come true, never how fast."""

import time
from collections.abc import Callable
from typing import TypeVar

GENEROUS_SECONDS = 90.0
_POLL_SECONDS = 0.02

T = TypeVar("T")


def until(condition: Callable[[], T | None], seconds: float = GENEROUS_SECONDS) -> T:
    """Ask again and again until `condition` gives something true, and give that; fails after `seconds`."""
    limit = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < limit, f"it did not come true within {seconds:g} s"
        time.sleep(_POLL_SECONDS)
