"""How a command ends: its exit code, and for what went wrong one sentence with the next step."""

import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

from l0core import screen

if TYPE_CHECKING:
    from service.client import ClientError


class Exit(IntEnum):
    """The exit codes of `l0`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    CANCELLED = 5
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done",
    Exit.FAILED: "the job failed, or the service refused",
    Exit.USAGE: "the command is wrong as it is written",
    Exit.UNREACHABLE: "no service answers",
    Exit.NOT_FOUND: "there is no such job, problem or file",
    Exit.CANCELLED: "the job was cancelled",
    Exit.INTERRUPTED: "Ctrl-C",
}
_BEGIN = """\b
Begin with
  l0 demo                                    a calibration from end to end
  l0 up                                      a service of your own
  l0 submit M.npz y.npy --budget 400 --wait  a job in it"""
_EXITS = "\b\nExit codes\n" + "\n".join(f"  {code.value:<5}{meaning}" for code, meaning in MEANINGS.items())
_REST = (
    "L0_URL and L0_API_KEY stand for --url and --api-key. With --json a command prints one JSON document (a stream: "
    "one a line) on standard output; notes, bars and errors go to standard error."
)
EPILOG = f"{_BEGIN}\n\n{_EXITS}\n\n{_REST}"
_OF_A_STATUS = {"succeeded": Exit.DONE, "failed": Exit.FAILED, "cancelled": Exit.CANCELLED}
_NEXT_STEPS = {
    "unauthorized": "name a key with --api-key or L0_API_KEY",
    "forbidden": "use a key with a wider scope",
    "not_found": "`l0 jobs` lists the jobs there are",
    "result_not_ready": "`l0 job JOB` shows where it stands",
    "job_already_terminal": "`l0 job JOB` shows how it has ended",
    "payload_too_large": "`l0 workers` and `GET /v1/capabilities` tell the service's limits",
}
_GONE = (404, 410)


def refused(error: "ClientError") -> NoReturn:
    """End with what the service has said to a request."""
    places = "; ".join(f"{place['pointer'].strip('/')}: {place['detail']}" for place in error.errors)
    step = _NEXT_STEPS.get(error.code)
    sentence = (places or error.detail or error.code).rstrip(".")
    code = Exit.NOT_FOUND if error.status in _GONE else Exit.FAILED
    screen.fail(sentence if step is None else f"{sentence}; {step}", code)


def unreachable(url: str, error: Exception) -> NoReturn:
    """End because nobody has answered."""
    reason = f"the service at {url} takes too long" if _is_timeout(error) else f"nobody answers at {url}"
    step = "start the service with `l0 up`, or name another one with --url or L0_URL"
    screen.fail(f"{reason}; {step}", Exit.UNREACHABLE)


def _is_timeout(error: Exception) -> bool:
    return type(error).__name__ in ("ReadTimeout", "WriteTimeout", "PoolTimeout")


def wrong_usage(sentence: str) -> NoReturn:
    """End because of what was typed."""
    screen.fail(sentence, Exit.USAGE)


def end_with(job: Mapping[str, Any]) -> NoReturn:
    """End as a job has ended: what is wrong with it in one sentence, with the next step."""
    if job["status"] == "failed":
        reason = (job["error"] or {}).get("detail", "nobody has said why").rstrip(".")
        step = f"`l0 log {job['id']}` tells what happened, `l0 retry {job['id']}` submits it again"
        screen.fail(f"job {job['id']} has failed: {reason}; {step}", Exit.FAILED)
    if job["status"] == "cancelled":
        step = f"`l0 weights {job['id']} --checkpoint latest` gives what it had"
        screen.fail(f"job {job['id']} was cancelled; {step}", Exit.CANCELLED)
    sys.exit(_OF_A_STATUS.get(job["status"], Exit.FAILED))
