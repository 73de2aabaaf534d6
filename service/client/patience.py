"""What is tried again, when, and how often: the one place that decides it.

Tried again: GET, HEAD and DELETE, uploads (the same bytes are kept once), and POST /v1/jobs, because its
Idempotency-Key makes the second try the same job. No other POST, whatever went wrong.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from service.client.calls import Call, Once, Pause, Steps
from service.client.errors import refusal

BROKEN = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)
_SAFE = frozenset({"GET", "HEAD", "DELETE"})
_NOT_NOW = frozenset({429, 502, 503, 504})
_FIRST_IS_UNDER_WAY = "idempotency_in_flight"
IDEMPOTENCY_KEY = "Idempotency-Key"

T = TypeVar("T")
Outcome = httpx.Response | httpx.TransportError


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a request is tried, and how long is waited between: what the service says, else twice as long each
    time, less a random part; never longer in all than `total_seconds`."""

    tries: int = 6
    first_seconds: float = 0.5
    longest_seconds: float = 15.0
    total_seconds: float = 120.0
    random: Callable[[], float] = random.random

    def pause(self, outcome: Outcome, *, tries: int) -> float:
        """Give the seconds to wait after so many tries."""
        longest = min(self.first_seconds * 2 ** (tries - 1), self.longest_seconds)
        said = outcome.headers.get("Retry-After") if isinstance(outcome, httpx.Response) else None
        return longest * (1 + self.random()) / 2 if said is None else seconds_of(said)


class Trying:
    """The tries of one request so far."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.tries, self._waited = 0, 0.0

    def restart(self) -> None:
        """Forget the tries: something has arrived."""
        self.tries, self._waited = 0, 0.0

    def pause(self, call: Call[Any], outcome: Outcome) -> float | None:
        """Give the seconds until the next try, None where this outcome stands."""
        self.tries += 1
        if self.tries >= self._patience.tries or not may_be_repeated(call) or not _will_pass(outcome):
            return None
        seconds = self._patience.pause(outcome, tries=self.tries)
        self._waited += seconds
        return seconds if self._waited <= self._patience.total_seconds else None

    def pause_or_raise(self, call: Call[Any], outcome: Outcome | None) -> float:
        """Give the seconds until a stream is taken up again; raises what ended it for good.

        None is a stream that was closed, in good order, before its end.
        """
        outcome = outcome or httpx.RemoteProtocolError("the service closed a stream before its end")
        seconds = self.pause(call, outcome)
        if seconds is None:
            raise outcome if isinstance(outcome, httpx.TransportError) else refusal(outcome)
        return seconds


def attempts(call: Call[T], patience: Patience) -> Steps[T]:
    """Send a call until it is answered for good; gives what the reply is read as, raises where it is an error."""
    trying = Trying(patience)
    while True:
        outcome: Outcome = yield Once(call)
        seconds = trying.pause(call, outcome)
        if seconds is None:
            return call.read(checked(call, outcome, tries=trying.tries))
        yield Pause(seconds)


def may_be_repeated(call: Call[Any]) -> bool:
    """Tell whether a call may be sent again after a try of which one does not know what became."""
    if call.method in _SAFE:
        return True
    is_upload = call.path == "/v1/uploads"
    return call.method == "POST" and (is_upload or (call.path == "/v1/jobs" and IDEMPOTENCY_KEY in call.headers))


def checked(call: Call[Any], outcome: Outcome, *, tries: int) -> httpx.Response:
    """Give the reply; raises what is an error for this call."""
    if isinstance(outcome, httpx.TransportError):
        raise outcome
    was_deleted_before = call.method == "DELETE" and outcome.status_code == 404 and tries > 1
    if outcome.is_error and outcome.status_code not in call.accepted and not was_deleted_before:
        raise refusal(outcome)
    return outcome


def _will_pass(outcome: Outcome) -> bool:
    if isinstance(outcome, httpx.TransportError):
        return isinstance(outcome, BROKEN)
    is_under_way = outcome.status_code == 409 and refusal(outcome).code == _FIRST_IS_UNDER_WAY
    return outcome.status_code in _NOT_NOW or is_under_way


def seconds_of(retry_after: str) -> float:
    """Give the seconds of a Retry-After, which is a number of them or a date.

    >>> seconds_of("2"), seconds_of("Wed, 21 Oct 2015 07:28:00 GMT"), seconds_of("soon")
    (2.0, 0.0, 1.0)
    """
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 1.0
