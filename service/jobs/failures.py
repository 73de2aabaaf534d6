"""The failures the service itself knows, and the problem object that `job.error` shows."""

from typing import Any

from service.jobs.values import Failure


def worker_lost(attempts: int) -> Failure:
    """The failure of a job whose workers died one after the other."""
    return Failure(
        code="worker_lost",
        title="The worker was lost",
        detail=f"its worker process died or went silent in each of {attempts} attempts",
    )


def deadline_exceeded(seconds: float) -> Failure:
    """The failure of a job that did not end in the time it was given."""
    return Failure(
        code="deadline_exceeded",
        title="The deadline has passed",
        detail=f"it did not end within its deadline_seconds of {seconds:g}; allow more time or fewer epochs",
    )


def problem_object(failure: Failure) -> dict[str, Any]:
    """Give a failure as the problem object that `job.error` shows.

    >>> problem_object(Failure(code="diverged", detail="the loss is not a number"))["code"]
    'diverged'
    """
    shown: dict[str, Any] = {
        "type": f"urn:l0:error:{failure.code}",
        "title": failure.title,
        "status": 422 if failure.pointer else 500,
        "code": failure.code,
        "detail": failure.detail,
        "retryable": failure.retry,
    }
    if failure.pointer:
        shown["errors"] = [{"pointer": failure.pointer, "code": failure.code, "detail": failure.detail}]
    return shown
