"""What an API counts of itself: requests, their latency, open streams. No label holds an id.

Where several processes serve on one socket they count in files of one folder, and each tells the sum. What all APIs
share is counted in SQL when somebody asks: see `exposition`.
"""

import os
import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from l0core.version import VERSION

# Else each counter has a second series that says when it began. The package leaves this one function untyped.
disable_created_metrics()  # type: ignore[no-untyped-call]
COUNTED_TOGETHER = "PROMETHEUS_MULTIPROC_DIR"  # names the folder; to be set before prometheus_client is imported
_OF_THIS_PROCESS = CollectorRegistry()
ProcessCollector(registry=_OF_THIS_PROCESS)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_STREAM = "text/event-stream"
_STATIC = "/static"


class Instruments:
    """The counters of an application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        build = Gauge(
            "l0_build_info", "Version of the service.", ("version",), registry=self.registry, multiprocess_mode="max"
        )
        build.labels(VERSION).set(1)
        self.requests = Counter(
            "l0_http_requests",
            "Requests answered by this API; route is the template, never an id.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "l0_http_request_seconds",
            "Seconds from a request to the beginning of its answer, without requests that asked to wait.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.body_bytes = Counter(
            "l0_http_request_body_bytes",
            "Bytes of request bodies this API has read; uploads are route /v1/uploads.",
            ("route",),
            registry=self.registry,
        )
        self.streams = Gauge(
            "l0_event_streams",
            "Streams of server-sent events this API holds open.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.publish_failures = Counter(
            "l0_publish_failures",
            "Ids this API could not send to the broker; each is sent again by a worker's round.",
            registry=self.registry,
        )

    def told(self) -> bytes:
        """Give every number in Prometheus' text format; those named `process_` are of the process that is asked."""
        registry = self.registry
        if COUNTED_TOGETHER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(_OF_THIS_PROCESS)


class Measured:
    """Counts and times every request."""

    def __init__(self, app: ASGIApp, *, instruments: Instruments) -> None:
        self._app, self._instruments = app, instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        measure = _Measure(self._instruments, scope)

        async def counted() -> Message:
            message = await receive()
            measure.n_bytes += len(message.get("body", b""))
            return message

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                measure.answer_begins(message)
            await send(message)

        try:
            await self._app(scope, counted, timed)
        finally:
            measure.ends()


class _Measure:
    """One request."""

    def __init__(self, instruments: Instruments, scope: Scope) -> None:
        self._instruments, self._scope = instruments, scope
        self._began = time.perf_counter()
        self._streams = False
        self._status = "none"  # the client was gone before there was an answer
        self.n_bytes = 0

    def answer_begins(self, start: Message) -> None:
        """Note status and latency, and whether a stream opens."""
        self._status = str(start["status"])
        self._streams = Headers(raw=start.get("headers", [])).get("content-type", "").startswith(_STREAM)
        if self._streams:
            self._instruments.streams.inc()
        if not _asks_to_wait(self._scope):
            seconds = time.perf_counter() - self._began
            self._instruments.seconds.labels(_route(self._scope), _method(self._scope)).observe(seconds)

    def ends(self) -> None:
        """Count the request."""
        route = _route(self._scope)
        self._instruments.requests.labels(route, _method(self._scope), self._status).inc()
        if self.n_bytes:
            self._instruments.body_bytes.labels(route).inc(self.n_bytes)
        if self._streams:
            self._instruments.streams.dec()


def _route(scope: Scope) -> str:
    """Give the template of the route that took the request."""
    path = getattr(scope.get("route"), "path_format", None)
    if path is not None:
        return str(path)
    return _STATIC if scope["path"].startswith(f"{_STATIC}/") else "unmatched"


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _asks_to_wait(scope: Scope) -> bool:
    return b"wait=" in scope["query_string"] or "wait=" in Headers(scope=scope).get("prefer", "")
