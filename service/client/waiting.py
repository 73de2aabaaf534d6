"""Waiting for a job's end, told of every change, over connections that break."""

import time
from collections.abc import Callable
from contextlib import ExitStack

from service.client.calls import JsonObject, Steps
from service.client.errors import JobFailed, JobNotEnded
from service.client.of_job import state
from service.client.progress import shown_progress

ENDED = ("succeeded", "failed", "cancelled")
_POLL_SECONDS = 20.0


def wait(
    job_id: str,
    on_change: Callable[[JsonObject], None] | None,
    *,
    progress: bool,
    timeout_seconds: float | None,
) -> Steps[None]:
    """Wait for the end; raises JobFailed unless the job succeeds, JobNotEnded once the time is over."""
    with ExitStack() as stack:
        told = [] if on_change is None else [on_change]
        if progress:
            told.append(stack.enter_context(shown_progress()))
        last = yield from _last_state(job_id, told, timeout_seconds)
    if last["status"] not in ENDED:
        raise JobNotEnded(last, timeout_seconds or 0.0)
    if last["status"] != "succeeded":
        raise JobFailed(last)


def _last_state(
    job_id: str, told: list[Callable[[JsonObject], None]], timeout_seconds: float | None
) -> Steps[JsonObject]:
    """Tell every change until the job has ended or the time is over; gives its last state."""
    end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    now, known = (yield from state(job_id)), None
    while True:
        if now["version"] != known:
            for tell in told:
                tell(now)
        left = _POLL_SECONDS if end is None else min(end - time.monotonic(), _POLL_SECONDS)
        if now["status"] in ENDED or left <= 0:
            return now
        known = now["version"]
        now = yield from state(job_id, wait=left, after_version=known)
