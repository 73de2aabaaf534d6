"""The process that forks those that parse: warm, one thread, gone with its owner; its children know of no other."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

import service.forking.nursery as home
from service.errors import Unprocessable
from service.forking.nursery import Nursery
from service.problems import lines, sandbox
from service.problems.lines import LOST
from service.problems.nursery import ask, of_parsers
from service.problems.requests import MatrixBody, MultiplyRequest
from tests.service.jobs.waiting import until
from tests.service.problems.files import ROOMY
from tests.services import MARK, new_mark, wait_for_none

_SECONDS, _A_MOMENT_SECONDS = 60.0, 0.2
_SMALL = MatrixBody.model_validate({"matrix": {"coo": {"shape": [1, 1], "row": [0], "col": [0], "data": [1.0]}}})
_FAILS = b"no JSON"
_OWNER = """
import os, sys
from service.problems.nursery import ask, nursery

def fails():
    return ask(nursery, b"no JSON", 60).code == 1

assert nursery.pid is None and fails()
mine = nursery.pid
if os.fork() == 0:
    os._exit(0 if nursery.pid is None and fails() and nursery.pid != mine else 1)
assert os.wait()[1] == 0
assert fails() and nursery.pid == mine
print("sound", flush=True)
if len(sys.argv) > 1:
    ask(nursery, sys.argv[1].encode(), 600)
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Nursery]:
    """A nursery of these tests' own."""
    opened = of_parsers()
    yield opened
    opened.end()


@pytest.fixture
def nursery(own: Nursery) -> Nursery:
    """The same, started, whatever the test before has done to it."""
    assert ask(own, _FAILS, _SECONDS).code == 1
    return own


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
    """Give its children once there are so many, each with its standard streams, its line to its owner, and no more."""

    def found() -> list[psutil.Process]:
        living = process(of).children()
        return living if len(living) == count and all(child.num_fds() == 4 for child in living) else []

    return until(found)


def test_it_is_started_when_it_is_needed_and_not_before() -> None:
    assert of_parsers().pid is None


def test_each_request_has_a_child_and_one_nursery_serves_all(nursery: Nursery) -> None:
    first = nursery.pid
    assert ask(nursery, _FAILS, _SECONDS).code == 1
    assert nursery.pid == first


def test_it_runs_one_thread_and_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "L0_DATABASE_URL", "PGPASSWORD"):
        monkeypatch.setenv(name, "secret")
    nursery = of_parsers()
    ask(nursery, _FAILS, _SECONDS)
    try:
        assert process(nursery).num_threads() == 1
        assert "secret" not in process(nursery).environ().values()
        assert os.getsid(process(nursery).pid) == nursery.pid
    finally:
        nursery.end()


def test_a_request_does_not_wait_for_another(nursery: Nursery, pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    first, second = (pool.submit(ask, nursery, held_up(tmp_path / name), _SECONDS) for name in ("one", "two"))
    children(nursery, 2)
    assert ask(nursery, _FAILS, _SECONDS).code == 1
    assert not first.done()
    let_go(tmp_path / "two")
    assert b"EOFError" in second.result().reply
    assert not first.done()
    let_go(tmp_path / "one")
    assert first.result().code == 0


def test_a_child_catches_no_signal_and_dies_with_the_nursery(
    nursery: Nursery, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    pool.submit(ask, nursery, held_up(tmp_path / "pipe"), _SECONDS)
    (child,) = children(nursery, 1)
    status = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii")
    assert "SigCgt:\t0000000000000000\n" in status
    assert process(nursery).num_threads() == 1
    nursery.end()
    until(lambda: not child.is_running())


def test_a_child_that_is_killed_takes_no_other_with_it(
    nursery: Nursery, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    first = pool.submit(ask, nursery, held_up(tmp_path / "one"), _SECONDS)
    (child,) = children(nursery, 1)
    second = pool.submit(ask, nursery, held_up(tmp_path / "two"), _SECONDS)
    children(nursery, 2)
    child.kill()
    assert first.result() == LOST
    assert not second.done()
    let_go(tmp_path / "two")
    assert second.result().code == 0
    assert process(nursery).children() == []


def test_a_child_that_takes_too_long_is_dead_when_its_owner_hears_of_it(nursery: Nursery, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        ask(nursery, held_up(tmp_path / "pipe"), 0.3)
    assert process(nursery).children() == []
    assert ask(nursery, _FAILS, _SECONDS).code == 1


def test_one_that_has_died_is_started_anew(nursery: Nursery) -> None:
    first = process(nursery)
    first.kill()
    assert ask(nursery, _FAILS, _SECONDS).code == 1
    assert nursery.pid != first.pid
    assert not first.is_running()


def test_one_that_dies_before_the_child_begins_is_started_anew(nursery: Nursery, pool: ThreadPoolExecutor) -> None:
    first = process(nursery)
    first.suspend()
    asked = pool.submit(ask, nursery, _FAILS, _SECONDS)
    time.sleep(_A_MOMENT_SECONDS)  # in which the request is handed over, most likely
    first.kill()
    assert asked.result().code == 1
    assert nursery.pid != first.pid


def test_a_child_whose_nursery_dies_is_a_refusal_and_ends(
    nursery: Nursery, pool: ThreadPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "nursery", nursery)
    os.mkfifo(tmp_path / "pipe")
    asked = pool.submit(sandbox.run, asks_for(tmp_path / "pipe"))
    (child,) = children(nursery, 1)
    process(nursery).kill()
    with pytest.raises(Unprocessable, match="the process reading them died"):
        asked.result()
    until(lambda: not child.is_running())


def test_one_that_is_frozen_holds_nobody_up(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_KILL_SECONDS", 0.1)
    process(nursery).suspend()
    with pytest.raises(TimeoutError):
        ask(nursery, _FAILS, 0.1)
    process(nursery).resume()
    assert ask(nursery, _FAILS, _SECONDS).code == 1


def test_one_that_takes_nothing_any_more_is_replaced(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is handed piles up until the kernel takes no more."""
    monkeypatch.setattr(lines, "_KILL_SECONDS", 0.0)
    monkeypatch.setattr(home, "_STOP_SECONDS", 0.1)
    frozen = process(nursery)
    frozen.suspend()
    with capture_logs() as logged:
        while nursery.pid == frozen.pid:
            with pytest.raises(TimeoutError):
                ask(nursery, _FAILS, 0.0)
    assert [line["event"] for line in logged] == ["nursery_lost"]
    assert not frozen.is_running()


def test_what_a_child_complains_of_is_logged(nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "nursery", nursery)
    with capture_logs() as logged, pytest.raises(Unprocessable, match="FileNotFoundError"):
        sandbox.run(asks_for(tmp_path / "gone"))
    (line,) = logged
    assert (line["event"], line["code"]) == ("parser_complained", 0)
    assert "No such file or directory" in line["stderr"]


def test_two_hundred_requests_leave_no_handle(nursery: Nursery) -> None:
    def held() -> tuple[int, int]:
        return psutil.Process().num_fds(), process(nursery).num_fds()

    before = held()
    assert {ask(nursery, _FAILS, _SECONDS).code for _ in range(200)} == {1}
    assert held() == before


def test_a_forked_process_leaves_its_parent_s_alone_and_both_end_with_their_owners() -> None:
    mark = new_mark()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _OWNER],
        env={**os.environ, MARK: mark},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("sound\n", "")
    assert wait_for_none(mark) == []


def test_an_owner_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    mark = new_mark()
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, held_up(tmp_path / "pipe")],
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"sound\n"
        until(lambda: len(psutil.Process(owner.pid).children(recursive=True)) == 2)
        owner.kill()
    assert wait_for_none(mark) == []
