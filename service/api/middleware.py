"""What happens to every request: an id, a limit on the body while it arrives, headers that keep browsers safe."""

import re
import secrets

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import unexpected

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_REQUEST_ID_NAMES = ("x-request-id", "x-policyengine-request-id")
_UPLOADS = "/v1/uploads"
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
_SECURITY_RAW = [(name.lower().encode(), value.encode()) for name, value in _SECURITY.items()]


class RequestId:
    """Echoes the client's request id, or makes one, and binds it to every log line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, with_id)


def _request_id(headers: Headers) -> str:
    sent = [headers[name] for name in _REQUEST_ID_NAMES if _REQUEST_ID.fullmatch(headers.get(name, ""))]
    return sent[0] if sent else secrets.token_hex(12)


class SecurityHeaders:
    """Adds the headers of `_SECURITY` where a route has not set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                set_already = {name for name, _ in headers}
                message["headers"] = [*headers, *(pair for pair in _SECURITY_RAW if pair[0] not in set_already)]
            await send(message)

        await self._app(scope, receive, with_headers)


class Unexpected:
    """Answers what no handler knows, inside of the id and the headers that every answer has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:  # noqa: BLE001 - it is logged and answered here
            reply = unexpected(Request(scope), error)
            if not started:
                await reply(scope, receive, send)


class BodyLimit:
    """Counts the body as it arrives and refuses the first byte over the limit, whatever Content-Length said."""

    def __init__(self, app: ASGIApp, *, json_bytes: int, upload_bytes: int) -> None:
        self._app, self._json_bytes, self._upload_bytes = app, json_bytes, upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/") == _UPLOADS
        limit = self._upload_bytes if is_upload else self._json_bytes
        declared = Headers(scope=scope).get("content-length", "")
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            if declared.isdecimal() and int(declared) > limit:
                raise _too_large(limit, is_upload=is_upload)
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_large(limit, is_upload=is_upload)
            return message

        await self._app(scope, counted, send)


def _too_large(limit: int, *, is_upload: bool) -> HTTPException:
    advice = "" if is_upload else f"; send large arrays to POST {_UPLOADS} and name them by upload_id"
    return HTTPException(413, f"the body has more than {limit} bytes{advice}")
