"""Runs the parsing process and turns whatever becomes of it into an answer or a refusal."""

import json
from typing import Any

from service.errors import FieldError, ServiceError, StorageFull, Unprocessable
from service.logging import log
from service.problems.nursery import ask, nursery
from service.problems.requests import ParseRequest
from service.problems.room import storage_full

_STATUS_CODES = frozenset({"invalid_matrix", "shape_mismatch", "nonfinite_input", "pickle_not_allowed"})


def run(request: ParseRequest) -> dict[str, Any]:
    """Give the child's answer; Unprocessable where it refuses, crashes, or takes too long."""
    try:
        ended = ask(nursery, request.model_dump_json().encode(), request.limits.seconds)
    except TimeoutError:
        raise _refusal("invalid_input", f"reading it took more than {request.limits.seconds:g} s", "") from None
    if ended.complaint:
        log.warning("parser_complained", code=ended.code, stderr=ended.complaint.decode(errors="replace")[-2000:])
    if ended.code != 0:
        raise _refusal("invalid_input", "the data cannot be read: the process reading them died", "")
    reply = json.loads(ended.reply)
    if "error" in reply:
        raise _refusal(reply["error"]["code"], reply["error"]["message"], reply["error"]["pointer"])
    answer: dict[str, Any] = reply["ok"]
    return answer


def _refusal(code: str, message: str, pointer: str) -> ServiceError:
    if code == StorageFull.default_code:
        return storage_full("the problem")
    shown = code if code in _STATUS_CODES else "invalid_request"
    return Unprocessable(message, code=shown, errors=(FieldError(pointer=pointer, code=shown, detail=message),))
