"""The HTTP door under test: a real process behind a real socket, or the same application called in this process."""

import asyncio
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import func, select
from structlog.testing import capture_logs

from service.api.app import create_app
from service.auth.guard import ANONYMOUS_TENANT
from service.ids import new_id
from service.problems.models import StoredProblem, Upload
from service.processes import end, spawn
from service.settings import Settings
from service.system import System

_START_SECONDS = 60
_ROOT = Path(__file__).parents[3]
_numbers = itertools.count(1_000)  # far from those of `problem_body`


@dataclass(frozen=True, kw_only=True)
class Door:
    """A door, and the same service seen from inside.

    `pid` is the API's process where it is not this one; `logged` is what was logged where it is.
    """

    http: httpx.Client
    system: System
    pid: int = 0
    logged: list[MutableMapping[str, Any]] = field(default_factory=list)

    @property
    def incoming(self) -> list[str]:
        """The files on their way in."""
        folder = self.system.settings.storage / "incoming"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    @property
    def log(self) -> str:
        """What the API's process has logged."""
        return (self.system.settings.data_dir / "api.log").read_text(encoding="utf-8")

    def upload(self, data: bytes, content_type: str) -> str:
        """Send an upload and give its id."""
        reply = self.http.post("/v1/uploads", content=data, headers={"Content-Type": content_type})
        assert reply.status_code in (200, 201), reply.text
        upload_id: str = reply.json()["id"]
        return upload_id

    def problem(self, **fields: Any) -> str:
        """Register a problem and give its id."""
        reply = self.http.post("/v1/problems", json=problem_body(**fields))
        assert reply.status_code in (200, 201), reply.text
        problem_id: str = reply.json()["id"]
        return problem_id

    def listed_problem(self) -> str:
        """List a problem whose content nobody reads, for tests of what only refers to one: no process that parses."""
        row = StoredProblem(
            id=new_id("prb"),
            tenant=ANONYMOUS_TENANT,
            kind="calibration",
            sha256="",
            sizes={},
            findings=[],
            tags={},
            storage_key="problems/nothing",
        )
        row.sha256 = row.id
        with self.system.database.transaction() as session:
            session.add(row)
        return row.id

    def job(self, problem_id: str, **fields: Any) -> dict[str, Any]:
        """Submit a job and give it as it was answered."""
        reply = self.http.post("/v1/jobs", json=job_body(problem_id, **fields))
        assert reply.status_code == 202, reply.text
        job: dict[str, Any] = reply.json()
        return job

    def rows(self) -> tuple[int, int]:
        """Give how many uploads and problems are kept."""
        with self.system.database.reading() as session:
            counts = [session.scalar(select(func.count()).select_from(table)) or 0 for table in (Upload, StoredProblem)]
        return counts[0], counts[1]


@contextmanager
def open_door(settings: Settings) -> Iterator[Door]:
    """Serve these settings in a process of their own; their database is migrated already."""
    listener = socket.create_server(("127.0.0.1", 0))
    number = listener.fileno()
    with (settings.data_dir / "api.log").open("ab") as log:
        command = [sys.executable, "-m", "service.api.serve", str(number)]
        process = spawn(command, environment=settings.environment(), stdout=log, stderr=log, pass_fds=(number,))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    system = System.open(settings)
    try:
        with httpx.Client(base_url=base_url, timeout=60) as http:
            _wait_until_up(http, process)
            yield Door(http=http, system=system, pid=process.pid)
    finally:
        system.database.dispose()
        end(process, 20)


def _wait_until_up(http: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    limit = time.monotonic() + _START_SECONDS
    while True:
        try:
            http.get("/healthz").raise_for_status()
            return
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > limit:
                raise
            time.sleep(0.02)


@contextmanager
def called_here(settings: Settings) -> Iterator[Door]:
    """Call the application of these settings in this process: no socket, every database alike."""
    app = create_app(settings)
    system: System = app.state.system
    with capture_logs() as logged, httpx.Client(transport=InProcess(app), base_url="http://localhost") as http:
        yield Door(http=http, system=system, logged=logged)
    system.database.dispose()


class InProcess(httpx.BaseTransport):
    """Hands each request to the application in an event loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Give the application's whole answer."""
        return asyncio.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        reply = await transport.handle_async_request(sent)
        return httpx.Response(reply.status_code, headers=reply.headers, content=await reply.aread())


def problem_body(**changed: Any) -> dict[str, Any]:
    """Give the body of a sound problem of two targets over three units, some fields changed or (None) left out."""
    sound = {
        "kind": "calibration",
        "matrix": {"csr": {"shape": [2, 3], "indptr": [0, 2, 3], "indices": [0, 1, 2], "data": [1.0, 2.0, 3.0]}},
        "targets": [3.0, 4.5],
    }
    return {name: value for name, value in (sound | changed).items() if value is not None}


def job_body(problem_id: str, **changed: Any) -> dict[str, Any]:
    """Give the body of a sound job."""
    return {"kind": "calibration", "problem_id": problem_id, **changed}


def other_targets() -> list[float]:
    """Give targets that no problem of this test run has had."""
    return [float(next(_numbers)), 4.5]


def refused(
    reply: httpx.Response, status: int, code: str, *, pointer: str | None = None, says: str = ""
) -> dict[str, Any]:
    """Check that a reply is a problem object (RFC 9457) of this kind; gives its body."""
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = reply.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:l0:error:{code}")
    assert body["request_id"] == reply.headers["X-Request-Id"]
    assert body["title"]
    assert says in body["detail"]
    assert "Traceback" not in reply.text
    assert str(_ROOT) not in reply.text
    if pointer is not None:
        assert body["errors"][0]["pointer"] == pointer
        assert body["errors"][0]["detail"]
    return body


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds; that it ever does is what is tested, not when."""
    limit = time.monotonic() + _START_SECONDS
    while not holds():
        assert time.monotonic() < limit, "it never came"
        time.sleep(0.005)


def resident_bytes(pid: int) -> int:
    """Give the memory a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
