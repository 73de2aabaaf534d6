"""Runs the parsing process and turns whatever becomes of it into an answer or a refusal."""

import json
import os
import subprocess
import sys
from typing import Any

from service.errors import FieldError, ServiceError, StorageFull, Unprocessable
from service.logging import log
from service.problems.requests import ParseRequest
from service.problems.room import storage_full

_STATUS_CODES = frozenset({"invalid_matrix", "shape_mismatch", "nonfinite_input", "pickle_not_allowed"})
_SECRET = ("AWS_", "L0_", "PG")


def run(request: ParseRequest) -> dict[str, Any]:
    """Give the child's answer; Unprocessable where it refuses, crashes, or takes too long."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "service.problems.child"],
            input=request.model_dump_json().encode(),
            capture_output=True,
            timeout=request.limits.seconds,
            env={**_environment(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _refusal("invalid_input", f"reading it took more than {request.limits.seconds:g} s", "") from None
    if done.stderr:
        log.warning("parser_complained", code=done.returncode, stderr=done.stderr.decode(errors="replace")[-2000:])
    if done.returncode != 0:
        raise _refusal("invalid_input", "the data cannot be read: the process reading them died", "")
    reply = json.loads(done.stdout)
    if "error" in reply:
        raise _refusal(reply["error"]["code"], reply["error"]["message"], reply["error"]["pointer"])
    answer: dict[str, Any] = reply["ok"]
    return answer


def _environment() -> dict[str, str]:
    """Give this process's environment without the keys to store and database: the child reads untrusted bytes."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)}


def _refusal(code: str, message: str, pointer: str) -> ServiceError:
    if code == StorageFull.default_code:
        return storage_full("the problem")
    shown = code if code in _STATUS_CODES else "invalid_request"
    return Unprocessable(message, code=shown, errors=(FieldError(pointer=pointer, code=shown, detail=message),))
