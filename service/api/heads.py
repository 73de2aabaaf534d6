"""HEAD for every GET (RFC 9110): the same answer without its body, of which no more is made than its beginning."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STREAM = b"text/event-stream"


class _Enough(Exception):
    """The head was sent; what makes the body may stop."""


class Heads:
    """Lets routes that know no HEAD answer as if they were asked by GET, and sends what comes before the body."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._is_known(scope):
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                await send({"type": "http.response.body", "body": b""})
                raise _Enough
            await send(message)

        try:
            await self._app(_asked_by_get(scope), receive, without_body)
        except _Enough:
            return

    def _is_known(self, scope: Scope) -> bool:
        """Say whether a route answers HEAD itself, or none is there."""
        found = [match for route in self._routes if (match := route.matches(scope)[0]) is not Match.NONE]
        return not found or Match.FULL in found


def _asked_by_get(scope: Scope) -> Scope:
    """Give the request as a GET of no stream, which would never end."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"accept" or _STREAM not in value]
    return {**scope, "method": "GET", "headers": headers}
