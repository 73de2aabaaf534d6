"""Waiting for a store that is away, within bounds: it costs time, not the job."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from service.logging import log
from service.storage import StoreUnavailable

_RETRY_SECONDS = 2.0

T = TypeVar("T")


class StoppedWaiting(Exception):
    """The word to stop came while the store was away."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for the store, and what ends the wait before."""

    seconds: float
    stop: threading.Event

    def until_done(self, act: Callable[[], T]) -> T:
        """Do it, again and again while the store is away; StoppedWaiting where the word to stop comes meanwhile."""
        limit = time.monotonic() + self.seconds
        while True:
            try:
                return act()
            except StoreUnavailable as error:
                if time.monotonic() >= limit:
                    raise
                log.warning("waits_for_store", error=str(error))
            if self.stop.wait(_RETRY_SECONDS):
                raise StoppedWaiting
