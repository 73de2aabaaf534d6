"""Who may do what, settled before a byte of the body is read: the caller, the scope, the pace.

Refusals are those of every route. What is left open (`is_open`) tells nothing of any tenant.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from service.api.callers import Callers
from service.api.errors import database_away, refused
from service.auth.callers import Caller
from service.auth.callers import Scope as KeyScope
from service.auth.guard import ANONYMOUS
from service.auth.meter import Allowance, Meter
from service.db.session import UNAVAILABLE
from service.errors import Forbidden, QuotaExceeded, ServiceError, Unauthorized
from service.logging import log

_OPEN = frozenset({"/", "/healthz", "/readyz", "/health", "/ping", "/openapi.json"})
_STATIC = "/static/"
_ONLY_READ = frozenset({"GET", "HEAD", "OPTIONS"})
_CALLER = "caller"
_STREAM = b"text/event-stream"


class _Revoked(Exception):
    """The key of an open stream is good no more."""


class Anonymous:
    """Lets everybody in as the one tenant there is: for a service that asks for no keys."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            scope.setdefault("state", {})[_CALLER] = ANONYMOUS
        await self._app(scope, receive, send)


class Keyed:
    """Lets those in who have a key that is good for what they ask, as often as a tenant may ask."""

    def __init__(self, app: ASGIApp, *, callers: Callers, meter: Meter | None, largest_body: int) -> None:
        self._app, self._callers, self._meter, self._largest_body = app, callers, meter, largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._callers.of(scope["headers"])
            check_scope(caller, KeyScope.READ if scope["method"] in _ONLY_READ else KeyScope.WRITE)
        except (ServiceError, *UNAVAILABLE) as error:
            await self._refuse(error, scope, receive, send)
            return
        scope.setdefault("state", {})[_CALLER] = caller
        bind_contextvars(key_id=caller.key_id)
        if self._meter is None:
            await self._let_in(scope, receive, send)
        else:
            await self._metered(self._meter, caller, scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; a stream of events ends with the first message after its key was revoked."""
        streams = False

        async def while_good(message: Message) -> None:
            nonlocal streams
            if message["type"] == "http.response.start":
                streams = any(name == b"content-type" and _STREAM in value for name, value in message["headers"])
            elif streams and not await self._is_still_good(scope):
                raise _Revoked
            await send(message)

        try:
            await self._app(scope, receive, while_good)
        except _Revoked:
            log.info("stream_ended", reason="its key was revoked")
            await send({"type": "http.response.body", "body": b""})

    async def _is_still_good(self, scope: Scope) -> bool:
        try:
            await self._callers.of(scope["headers"])
        except Unauthorized:
            return False
        except UNAVAILABLE:  # who was good is, until the database says otherwise
            return True
        return True

    async def _metered(self, meter: Meter, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        allowance = meter.take(caller.tenant)
        fields = _rate_limit(meter.requests_a_minute, allowance)

        async def with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *fields]
            await send(message)

        if allowance.granted:
            await self._let_in(scope, receive, with_fields)
        else:
            await self._refuse(_too_fast(meter.requests_a_minute, allowance), scope, receive, with_fields)

    async def _refuse(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer without reading the body; a large one is not waited for."""
        request = Request(scope)
        reply: Response = (
            refused(request, error) if isinstance(error, ServiceError) else await database_away(request, error)
        )
        if not self._is_small(scope):
            reply.headers["Connection"] = "close"
        await reply(scope, receive, send)

    def _is_small(self, scope: Scope) -> bool:
        """Tell whether there is no body, or one that says it is short."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        return b"transfer-encoding" not in headers and length.isdigit() and int(length) <= self._largest_body


def is_open(path: str) -> bool:
    """Tell whether a path is answered without a key.

    >>> is_open("/healthz"), is_open("/static/app.js"), is_open("/metrics"), is_open("/v1/jobs")
    (True, True, False, False)
    """
    return path in _OPEN or path.startswith(_STATIC)


def caller_of(request: Request) -> Caller:
    """Give who sent a request that was let in."""
    caller: Caller = request.scope["state"][_CALLER]
    return caller


def check_scope(caller: Caller, needed: KeyScope) -> None:
    """Refuse a caller whose key is not good for so much."""
    if not caller.scope.includes(needed):
        raise Forbidden(f"this needs a key of scope {needed}; yours has {caller.scope}")


def _too_fast(requests_a_minute: int, allowance: Allowance) -> QuotaExceeded:
    text = f"more than {requests_a_minute:,} requests a minute; slow down, or wait with ?wait= instead of asking again"
    return QuotaExceeded(text, retry_after_seconds=allowance.next_in_seconds)


def _rate_limit(requests_a_minute: int, allowance: Allowance) -> list[tuple[bytes, bytes]]:
    """Give the fields of draft-ietf-httpapi-ratelimit-headers-10."""
    return [
        (b"ratelimit-policy", b'"requests";q=%d;w=60' % requests_a_minute),
        (b"ratelimit", b'"requests";r=%d;t=%d' % (allowance.left, allowance.full_in_seconds)),
    ]
