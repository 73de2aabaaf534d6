"""The programs that tell Docker whether a container is well."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import gethostname

import pytest

from service.db.migrate import upgrade
from service.db.session import Database
from service.jobs.values import WorkerIdentity
from service.jobs.workers import see_worker

DOCKER = Path(__file__).parents[2] / "docker"


def is_well(program: str, *arguments: str, **variables: str) -> bool:
    command = [sys.executable, str(DOCKER / program), *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, check=False)
    return done.returncode == 0


def write_down_worker(url: str, host: str) -> None:
    database = Database(url)
    with database.transaction() as session:
        see_worker(session, WorkerIdentity(id="wrk_1", host=host, queues=("cpu",), device="cpu"))
    database.dispose()


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path / 'l0.db'}"
    upgrade(made)
    return made


def test_a_worker_the_database_has_just_seen_is_well(url: str) -> None:
    write_down_worker(url, gethostname())
    assert is_well("worker_health.py", L0_DATABASE_URL=url)


def test_a_worker_that_another_container_runs_does_not_count(url: str) -> None:
    write_down_worker(url, "another")
    assert not is_well("worker_health.py", L0_DATABASE_URL=url)


def test_a_worker_that_fell_silent_is_not_well(url: str) -> None:
    write_down_worker(url, gethostname())
    assert not is_well("worker_health.py", L0_DATABASE_URL=url, L0_WORKER_SEEN_SECONDS="0.001")


def test_a_worker_without_a_database_is_not_well(tmp_path: Path) -> None:
    assert not is_well("worker_health.py", L0_DATABASE_URL=f"sqlite:///{tmp_path / 'empty.db'}")


class Answer(BaseHTTPRequestHandler):
    """Answers each path with one status."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture(params=[200, 503])
def api(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """The port of a server and the status it gives."""
    handler = type("GivenAnswer", (Answer,), {"status": request.param})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port, request.param
        server.shutdown()


def test_an_api_is_well_where_it_answers_200(api: tuple[int, int]) -> None:
    port, status = api
    assert is_well("api_health.py", str(port)) is (status == 200)


def test_an_api_that_does_not_answer_is_not_well() -> None:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        port = server.server_port
    assert not is_well("api_health.py", str(port))
