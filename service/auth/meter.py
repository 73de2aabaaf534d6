"""How many requests a tenant may still send: a bucket that fills evenly, and holds a minute's worth when it is full."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

_MINUTE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What is left of a bucket, when it is full again, and whether this request was still in it."""

    granted: bool
    left: int
    full_in_seconds: int
    next_in_seconds: int


class Meter:
    """The buckets of all tenants, in the memory of this process."""

    def __init__(self, requests_a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.requests_a_minute = requests_a_minute
        self._a_second = requests_a_minute / _MINUTE_SECONDS
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, tenant: str) -> Allowance:
        """Take one request out of a tenant's bucket, where one is in it."""
        now = self._clock()
        held, since = self._buckets.get(tenant, (float(self.requests_a_minute), now))
        held = min(float(self.requests_a_minute), held + (now - since) * self._a_second)
        granted = held >= 1.0
        held -= granted
        self._buckets[tenant] = held, now
        return Allowance(
            granted=granted,
            left=int(held),
            full_in_seconds=math.ceil((self.requests_a_minute - held) / self._a_second),
            next_in_seconds=max(1, math.ceil((1.0 - held) / self._a_second)),
        )
