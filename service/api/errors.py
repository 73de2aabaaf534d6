"""Every refusal as application/problem+json (RFC 9457); nothing internal is shown, no input is echoed raw."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_jsonable_python
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Match

from service.api.sound_json import json_pointer
from service.db.session import UNAVAILABLE, is_full
from service.errors import FieldError, Gone, ServiceError
from service.logging import log
from service.problems import room
from service.problems.room import storage_full
from service.storage import StoreUnavailable

MEDIA_TYPE = "application/problem+json"
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "payload_too_large"}
_MOST_ERRORS = 20
_OF_A_TAG = ("union_tag_not_found", "union_tag_invalid")


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    for away in UNAVAILABLE:
        app.add_exception_handler(away, database_away)
    app.add_exception_handler(StoreUnavailable, _store_error)
    app.add_exception_handler(OSError, _os_error)
    app.add_exception_handler(RecursionError, _too_deep)
    app.add_exception_handler(ClientDisconnect, _disconnected)


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    title: str | None = None,
    errors: Sequence[FieldError] = (),
    retryable: bool = False,
    headers: dict[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Give a problem object as a response; `more` are members that only this kind of problem has."""
    body: dict[str, Any] = {
        "type": f"urn:l0:error:{code}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": _printable(detail),
        "instance": request.url.path,
        "code": code,
        "request_id": getattr(request.state, "request_id", ""),
        "retryable": retryable,
        "errors": [
            {"pointer": _printable(error.pointer), "code": error.code, "detail": _printable(error.detail)}
            for error in errors
        ],
        **(more or {}),
    }
    return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def _printable(text: str) -> str:
    """Replace what JSON or a log cannot carry (half a surrogate pair)."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


async def _service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)  # noqa: S101 - the registration above says so
    return refused(request, error)


def refused(request: Request, error: ServiceError) -> JSONResponse:
    """Give a refusal as a response."""
    return problem(
        request,
        error.status,
        error.code,
        error.detail,
        title=error.title,
        errors=error.errors,
        retryable=error.retryable,
        headers=error.headers,
        more={"expired_at": to_jsonable_python(error.expired_at)} if isinstance(error, Gone) else None,
    )


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the registration above says so
    faults = [_field_error(fault, error.body) for fault in error.errors()[:_MOST_ERRORS]]
    first = faults[0]
    return problem(request, 422, first.code, first.detail, title="Unprocessable content", errors=faults)


def _field_error(fault: dict[str, Any], body: Any) -> FieldError:
    """Turn a fault of validation into a pointer and a sentence; the offending input itself is not repeated."""
    place = _place(fault, body)
    in_hyperparameters = "hyperparameters" in place
    name = place[-1] if place else "the body"
    detail = f"{name}: {_said_of(fault)}"
    return FieldError(
        pointer=json_pointer(place),
        code="invalid_hyperparameter" if in_hyperparameters else "invalid_request",
        detail=detail,
    )


def _place(fault: Mapping[str, Any], body: Any) -> list[str]:
    """Give where a fault is: the keys of what was sent, without the tags that unions put between them."""
    where, *parts = fault["loc"]  # body, query, path or header, then the way there
    if where != "body":
        return [str(part) for part in parts]
    named = [name for name in (_discriminator(fault),) if name]
    missing = [parts.pop()] if parts and (fault["type"] == "missing" or parts[-1] == "[key]") else []
    return [str(part) for part in (*_keys(parts, body), *missing, *named)]


def _keys(parts: Sequence[Any], value: Any) -> Iterator[Any]:
    """Give those parts of a way that lead from a key of what was sent to the next.

    >>> list(_keys(["calibration", "targets", "~list", 1], {"targets": [1, "two"]}))
    ['targets', 1]
    """
    for part in parts:
        if (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int)):
            value = value[part]
            yield part


def _discriminator(fault: Mapping[str, Any]) -> str:
    """Give the field that tells the members of a union apart, where the fault is in that; nothing where there is none.

    >>> _discriminator({"type": "union_tag_not_found", "ctx": {"discriminator": "'kind'"}})
    'kind'
    """
    told = str(fault["ctx"]["discriminator"]) if fault["type"] in _OF_A_TAG else ""
    return "" if told.endswith("()") else told.strip("'")  # a function looks at the whole


def _said_of(fault: Mapping[str, Any]) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return "unknown field; see the schema"
        case "union_tag_not_found":
            return (
                "Field required" if _discriminator(fault) else "it has none of the forms that there are; see the schema"
            )
        case "union_tag_invalid":
            return f"Input should be {fault['ctx']['expected_tags']}"
    return str(fault["msg"]).removeprefix("Value error, ")


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the registration above says so
    if isinstance(error.__cause__, ServiceError):  # FastAPI wraps whatever is raised while it reads a body
        return await _service_error(request, error.__cause__)
    if isinstance(error.__cause__, ClientDisconnect):
        return await _disconnected(request, error.__cause__)
    code = _CODES.get(error.status_code, HTTPStatus(error.status_code).phrase.lower().replace(" ", "_"))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
        return problem(
            request, 405, code, f"{request.method} is not for this path; {headers['Allow']} are", headers=headers
        )
    return problem(request, error.status_code, code, str(error.detail), headers=headers)


def _methods(request: Request) -> list[str]:
    """Give the methods of every route of the path, of which the router names only the first's."""
    routes = [route for route in request.app.state.routes if route.matches(request.scope)[0] is Match.PARTIAL]
    known = {method for route in routes for method in route.methods}
    return sorted(known | ({"HEAD"} if "GET" in known else set()))


async def database_away(request: Request, error: Exception) -> JSONResponse:
    """Log what the database said, and ask the client to come again."""
    log.error("database_unavailable", error=str(error))
    if is_full(error):
        return await _service_error(request, storage_full("what was asked for"))
    text = "the database does not answer just now; try again"
    return problem(request, 503, "not_ready", text, retryable=True, headers={"Retry-After": "2"})


async def _store_error(request: Request, error: Exception) -> JSONResponse:
    log.error("store_unavailable", error=str(error))
    text = "the store of files does not answer just now; try again"
    return problem(request, 503, "not_ready", text, retryable=True, headers={"Retry-After": "5"})


async def _os_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, OSError) and room.is_full(error):
        return await _service_error(request, storage_full("what this needs"))
    return unexpected(request, error)


async def _too_deep(request: Request, _: Exception) -> JSONResponse:
    return problem(request, 422, "invalid_request", "the JSON is nested too deeply")


async def _disconnected(request: Request, _: Exception) -> JSONResponse:
    log.info("client_disconnected", path=request.url.path)
    return problem(request, 400, "client_disconnected", "the connection ended before the body did")


def unexpected(request: Request, error: Exception) -> JSONResponse:
    """Log what no handler knows and tell no more of it than where the log has it."""
    log.error("unexpected_error", path=request.url.path, exc_info=error)
    text = "something went wrong on our side; the log has it under this request_id"
    return problem(request, 500, "internal_error", text)
