"""Is the process up, and can it do its work: each check fails alone, and says what it means."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest

from service.api.app import create_app
from service.jobs import workers
from service.jobs.values import WorkerIdentity
from service.settings import Settings
from service.system import System
from tests.service.api.door import Door, called_here, refused

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_CHECKS = {"database", "storage", "broker", "worker"}


def _see_worker(system: System) -> None:
    worker = WorkerIdentity(
        id="wrk_1", host="here", queues=("cpu",), device="cpu", versions={"service": "1", "torch": "2"}
    )
    with system.database.transaction() as session:
        workers.see_worker(session, worker)


@pytest.mark.parametrize(("method", "path"), [("GET", "/healthz"), ("GET", "/health"), ("POST", "/ping")])
def test_a_living_process_says_so(door: Door, method: str, path: str) -> None:
    reply = door.http.request(method, path)
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


@_ON_SQLITE
def test_a_living_process_says_so_while_every_thread_is_taken(settings: Settings) -> None:
    async def ask() -> httpx.Response:
        limiter, free = anyio.to_thread.current_default_thread_limiter(), threading.Event()
        limiter.total_tokens = 1
        taken = asyncio.create_task(anyio.to_thread.run_sync(free.wait))
        while not limiter.borrowed_tokens:
            await asyncio.sleep(0)
        transport = httpx.ASGITransport(app=create_app(settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            try:
                return await asyncio.wait_for(http.get("/healthz"), timeout=2)
            finally:
                free.set()
                await taken

    assert asyncio.run(ask()).status_code == 200


def test_all_is_ready_once_a_worker_was_seen(inside: Door) -> None:
    _see_worker(inside.system)
    reply = inside.http.get("/readyz")
    assert (reply.status_code, reply.json()["status"]) == (200, "ready")
    assert reply.json()["checks"] == {name: {"ok": True} for name in _CHECKS}


def _failing(door: Door) -> dict[str, str]:
    """Give the checks that fail and what each says."""
    reply = door.http.get("/readyz")
    body: dict[str, Any] = reply.json()
    assert (reply.status_code, body["status"]) == (503, "not_ready")
    assert set(body["checks"]) == _CHECKS
    return {name: check["detail"] for name, check in body["checks"].items() if not check["ok"]}


def test_no_worker_is_said(inside: Door) -> None:
    assert _failing(inside) == {"worker": "no worker was seen lately; jobs wait until one is started"}


@_ON_SQLITE
def test_a_worker_seen_too_long_ago_is_none(settings: Settings) -> None:
    with called_here(settings.model_copy(update={"worker_seen_seconds": 1e-9})) as door:
        _see_worker(door.system)
        assert set(_failing(door)) == {"worker"}
        assert door.http.get("/v1/workers").json() == {"data": []}


@_ON_SQLITE
def test_a_broker_that_is_away_is_named(settings: Settings) -> None:
    with called_here(settings.model_copy(update={"broker_url": "redis+socket:///nowhere.sock"})) as door:
        _see_worker(door.system)
        (sentence,) = _failing(door).values()
        assert "broker does not answer" in sentence
        assert "nowhere.sock" not in sentence


@_ON_SQLITE
def test_a_store_that_takes_no_files_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with called_here(settings.model_copy(update={"storage_dir": tmp_path / "file" / "store"})) as door:
        _see_worker(door.system)
        assert set(_failing(door)) == {"storage"}


_AWAY = "postgresql+psycopg://l0@/l0?host=/nowhere"


@_ON_SQLITE
def test_a_database_that_is_away_is_named(settings: Settings) -> None:
    with called_here(settings.model_copy(update={"database_url": _AWAY})) as door:
        assert set(_failing(door)) == {"database", "worker"}
        assert door.http.get("/healthz").status_code == 200


@_ON_SQLITE
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/jobs"), ("GET", "/v1/jobs/job_x"), ("GET", "/v1/problems/prb_x"), ("GET", "/v1/uploads/upl_x")],
)
def test_everything_else_is_503_while_the_database_is_away(settings: Settings, method: str, path: str) -> None:
    with called_here(settings.model_copy(update={"database_url": _AWAY})) as door:
        reply = door.http.request(method, path)
    body = refused(reply, 503, "not_ready", says="the database does not answer just now; try again")
    assert body["retryable"]
    assert reply.headers["Retry-After"] == "2"
    assert "nowhere" not in reply.text


def test_workers_are_listed(inside: Door) -> None:
    _see_worker(inside.system)
    (worker,) = inside.http.get("/v1/workers").json()["data"]
    assert (worker["id"], worker["host"], worker["queues"], worker["device"]) == ("wrk_1", "here", ["cpu"], "cpu")
    assert worker["versions"] == {"service": "1", "torch": "2"}
    assert worker["started_at"] <= worker["seen_at"]
