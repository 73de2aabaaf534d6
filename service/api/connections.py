"""Connections on which no request comes: a client that opens one and sends half a head must not hold it for ever."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def impatient(seconds: float) -> type[HttpToolsProtocol]:
    """Give uvicorn's protocol with a limit on the time from the first byte of a request's head to its last.

    The first request of a connection has as long from its opening on; between two requests uvicorn's own limit counts,
    while a body comes that of `middleware.Patience`.
    """

    class Impatient(HttpToolsProtocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
            super().connection_made(transport)
            self._late = self.loop.call_later(seconds, self._let_go)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._is_answering():
                self._forget_time()
            elif self._late is None and not self.transport.is_closing():
                self._late = self.loop.call_later(seconds, self._let_go)

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_time()
            super().connection_lost(exc)

        def _is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _forget_time(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _let_go(self) -> None:
            self._late = None
            if not self._is_answering() and not self.transport.is_closing():
                self.transport.write(_LATE)
                self.transport.close()

    return Impatient
