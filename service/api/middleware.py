"""What happens to every request: an id, a limit on the body while it arrives, headers that keep browsers safe."""

import asyncio
import re
import secrets
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import unexpected

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_REQUEST_ID_NAMES = ("x-request-id", "x-policyengine-request-id")
_UPLOADS = "/v1/uploads"
_BODILESS = frozenset({"GET", "HEAD"})  # none of our routes reads a body of these
_SIGN_OF_LIFE_BYTES = 1024
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
    """Counts the body as it arrives and refuses the first byte over the limit, whatever Content-Length said.

    A client that is silent for too long before its body is whole is let go.
    """

    def __init__(self, app: ASGIApp, *, json_bytes: int, upload_bytes: int, silence_seconds: float) -> None:
        self._app, self._json_bytes, self._upload_bytes = app, json_bytes, upload_bytes
        self._silence_seconds = silence_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/") == _UPLOADS
        limit = self._upload_bytes if is_upload else self._json_bytes
        is_declared_too_large = _declares_more(Headers(scope=scope).get("content-length", ""), limit)
        patience = Patience(self._silence_seconds)
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            if is_declared_too_large:
                raise _too_large(limit, is_upload=is_upload)
            message = await patience.next(receive)
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_large(limit, is_upload=is_upload)
            return message

        await self._app(scope, counted, send)


class Patience:
    """Waits for the parts of a body, as long as a kilobyte (or the end) comes within so many seconds of waiting."""

    def __init__(self, seconds: float) -> None:
        self._seconds = self._left = seconds
        self._seen = 0
        self._is_whole = False

    async def next(self, receive: Receive) -> Message:
        """Give what comes next; 408 where it does not come. Once the body is whole, it waits for ever."""
        if self._is_whole:
            return await receive()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._left):
                message = await receive()
        except TimeoutError:
            text = f"less than a kilobyte of the body came in {self._seconds:g} s; send the request again"
            raise HTTPException(408, text, {"Connection": "close"}) from None
        self._note(message, time.monotonic() - began)
        return message

    def _note(self, message: Message, waited: float) -> None:
        self._is_whole = not message.get("more_body", False)
        self._seen += len(message.get("body", b""))
        self._left -= waited
        if self._seen >= _SIGN_OF_LIFE_BYTES:
            self._seen, self._left = 0, self._seconds


def _declares_more(content_length: str, limit: int) -> bool:
    """Say whether a Content-Length is above the limit; what is no number is the server's to refuse.

    >>> _declares_more("10", 9), _declares_more("9" * 5000, 9), _declares_more("", 9)
    (True, True, False)
    """
    return content_length.isdecimal() and (len(content_length) > 20 or int(content_length) > limit)


def _too_large(limit: int, *, is_upload: bool) -> HTTPException:
    advice = "" if is_upload else f"; send large arrays to POST {_UPLOADS} and name them by upload_id"
    return HTTPException(413, f"the body has more than {limit} bytes{advice}")
