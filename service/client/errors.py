"""What goes wrong for a client.

ClientError          the service refused a request
JobFailed            a job has ended without a result
JobNotEnded          a job has not ended in the time one would wait (a TimeoutError)
DamagedDownload      the bytes that arrived are not those the service has
PackageError         a calibration package lacks something (a ValueError)

A service that cannot be reached is httpx's own error: httpx.ConnectError and its kin.
"""

from collections.abc import Sequence
from typing import Any

import httpx


class ClientError(Exception):
    """The service refused a request: `code` and `errors` as it said them."""

    def __init__(self, status: int, code: str, detail: str, errors: Sequence[dict[str, Any]] = ()) -> None:
        places = "; ".join(f"{error['pointer']}: {error['detail']}" for error in errors)
        super().__init__(f"{status} {code}: {places or detail}")
        self.status, self.code, self.detail, self.errors = status, code, detail, list(errors)


class JobFailed(Exception):
    """A job ended without a result; `job` is its last state."""

    def __init__(self, job: dict[str, Any]) -> None:
        reason = (job.get("error") or {}).get("detail", job["status"])
        super().__init__(f"job {job['id']} {job['status']}: {reason}")
        self.job = job


class JobNotEnded(TimeoutError):
    """A job goes on, and so long one would not wait; `job` is its last state."""

    def __init__(self, job: dict[str, Any], seconds: float) -> None:
        super().__init__(f"job {job['id']} has not ended in {seconds:g} s; it is {job['status']} and goes on")
        self.job = job


class DamagedDownload(Exception):
    """The bytes that arrived are not those the service has; nothing was kept of them."""


class PackageError(ValueError):
    """A calibration package lacks something, or has it in a form nobody can read."""


def refusal(reply: httpx.Response) -> ClientError:
    """Give a reply that is an error as what to raise."""
    if not reply.headers.get("content-type", "").startswith("application/problem+json"):
        return ClientError(reply.status_code, "http_error", reply.text[:300])
    body = reply.json()
    return ClientError(body["status"], body["code"], body["detail"], body.get("errors", ()))
