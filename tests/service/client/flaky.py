"""A service that answers what a test says, breaks where it says, and counts what it was asked."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from service.client import Client, Patience

QUICK = Patience(first_seconds=0.001, longest_seconds=0.002)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A reply; of its body only the first `sent` bytes arrive, then the connection breaks."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    length: bool = True


DROPPED = None
"""The connection is closed without a word."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def busy(status: int = 503, *, retry_after: str | None = "0", code: str = "not_ready") -> Answer:
    """Give a refusal for now."""
    said = {} if retry_after is None else {"Retry-After": retry_after}
    return problem(status, code, headers=said)


def problem(status: int, code: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Give a refusal as the service says it."""
    body = f'{{"status": {status}, "code": "{code}", "detail": "said so", "errors": []}}'
    return Answer(
        status=status, body=body.encode(), headers={"Content-Type": "application/problem+json", **(headers or {})}
    )


@contextmanager
def answering(*answers: Answer | None) -> Iterator[tuple[str, list[Asked]]]:
    """Give the address of a service that answers these in turn, the last for ever, and the list of what was asked."""
    asked: list[Asked] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                answer = answers[min(len(asked), len(answers) - 1)]
                asked.append(
                    Asked(
                        method=self.command,
                        path=self.path,
                        headers={name.lower(): value for name, value in self.headers.items()},
                        body=body,
                    )
                )
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.length:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body if answer.sent is None else answer.body[: answer.sent])
            self.close_connection = answer.sent is not None or not answer.length

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names are the base class's

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def flaky(*answers: Answer | None, patience: Patience = QUICK) -> Iterator[tuple[Client, list[Asked]]]:
    """Give a client of such a service."""
    with answering(*answers) as (url, asked), Client(url, patience=patience) as client:
        yield client, asked
