"""The process that forks those that parse: warm, one thread, gone with its owner; its children know nothing of others."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from service.errors import Unprocessable
from service.problems import lines, sandbox
from service.problems.lines import LOST
from service.problems.nursery import Nursery
from service.problems.requests import MatrixBody, MultiplyRequest
from tests.service.jobs.waiting import until
from tests.service.problems.files import ROOMY
from tests.services import MARK, new_mark, wait_for_none

_SECONDS = 60.0
_SMALL = MatrixBody.model_validate({"matrix": {"coo": {"shape": [1, 1], "row": [0], "col": [0], "data": [1.0]}}})
_FAILS = b"no JSON"
_OWNER = """
import os, sys
from service.problems.nursery import nursery

def fails():
    return nursery.ask(b"no JSON", 60).code == 1

assert nursery.pid is None and fails()
mine = nursery.pid
if os.fork() == 0:
    os._exit(0 if nursery.pid is None and fails() and nursery.pid != mine else 1)
assert os.wait()[1] == 0
assert fails() and nursery.pid == mine
print("sound", flush=True)
if len(sys.argv) > 1:
    nursery.ask(sys.argv[1].encode(), 600)
"""


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    """A nursery of the test's own, started."""
    opened = Nursery()
    assert opened.ask(_FAILS, _SECONDS).code == 1
    yield opened
    opened.end()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as opened:
        yield opened


def asks_for(path: Path) -> MultiplyRequest:
    return MultiplyRequest(inputs=_SMALL, weights=str(path), uploads={}, limits=ROOMY)


def held_up(pipe: Path) -> bytes:
    """Give a request that waits until the pipe is let go."""
    os.mkfifo(pipe)
    return asks_for(pipe).model_dump_json().encode()


def let_go(pipe: Path) -> None:
    with pipe.open("wb"):
        pass


def process(of: Nursery) -> psutil.Process:
    return psutil.Process(of.pid)


def children(of: Nursery, count: int) -> list[psutil.Process]:
    """Give its children once there are so many of them and each has closed what is not its own."""

    def found() -> list[psutil.Process]:
        living = process(of).children()
        return living if len(living) == count and all(handles(child) <= {"0", "1", "2", "own"} for child in living) else []

    return until(found)


def handles(child: psutil.Process) -> set[str]:
    return set(os.listdir(f"/proc/{child.pid}/fd"))


def test_it_is_started_when_it_is_needed_and_not_before() -> None:
    assert Nursery().pid is None


def test_each_request_has_a_child_and_one_nursery_serves_all(nursery: Nursery) -> None:
    first = nursery.pid
    assert nursery.ask(_FAILS, _SECONDS).code == 1
    assert nursery.pid == first


def test_it_runs_one_thread_and_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "L0_DATABASE_URL", "PGPASSWORD"):
        monkeypatch.setenv(name, "secret")
    nursery = Nursery()
    nursery.ask(_FAILS, _SECONDS)
    try:
        assert process(nursery).num_threads() == 1
        assert "secret" not in process(nursery).environ().values()
        assert os.getsid(process(nursery).pid) == nursery.pid
    finally:
        nursery.end()
