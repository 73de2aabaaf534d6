"""The nursery of engines: warm, single-threaded, with children that end with it and no later than their worker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from service.forking import nursery as home
from service.forking.nursery import Nursery
from service.settings import Settings
from service.system import System
from tests.faults.processes import running_worker
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.services import MARK, new_mark, wait_for_none
from tests.worker import runs
from tests.worker.runs import is_gone
from tests.worker.test_engine_process import assignment, said
from worker import engine_process
from worker.engine_process import EngineProcess
from worker.forks import NAME

_OWNER = """
import os, sys, time
from pathlib import Path
from tests.worker.test_engine_process import assignment
from worker.engine_process import EngineProcess
with EngineProcess(assignment(Path(sys.argv[1]), kind="calibration"), os.environ) as child:
    while child.pid is None:
        time.sleep(0.05)
    print("begun", flush=True)
    time.sleep(600)
"""


_ASKS_NO_CARD = """
import torch
from worker.forks import _load
def refuse(*_, **__):
    raise AssertionError("a card is asked for before a fork")
for name in ("is_available", "device_count", "current_device", "_lazy_init", "init"):
    setattr(torch.cuda, name, refuse)
_load()
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Nursery]:
    """A nursery of these tests' own."""
    opened = Nursery("worker.forks", lambda: {**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    yield opened
    opened.end()


def begun(folder: Path, nursery: Nursery, kind: str = "calibration") -> EngineProcess:
    """Give an engine that waits for its problem; one of a kind that is none fails at once."""
    problem = folder / "files/problems/prb_nobody"
    problem.parent.mkdir(parents=True, exist_ok=True)
    if not problem.exists():
        os.mkfifo(problem)
    return EngineProcess(assignment(folder, kind=kind), Settings(data_dir=folder).environment(), nursery)


def waiting(child: EngineProcess) -> psutil.Process:
    """Give the child's process once it waits for its problem."""
    process = psutil.Process(until(lambda: child.pid))
    until(lambda: process.status() == psutil.STATUS_SLEEPING and f'"pid": {process.pid}' in child.log_tail())
    return process


def test_one_nursery_forks_every_engine_and_runs_one_thread(own: Nursery, tmp_path: Path) -> None:
    parents = []
    for _ in range(2):
        with begun(tmp_path, own) as child:
            parents.append(waiting(child).ppid())
            assert psutil.Process(child.pid).name() == NAME
    assert parents == [own.pid] * 2
    assert psutil.Process(own.pid).num_threads() == 1


def test_what_a_nursery_loads_asks_for_no_card() -> None:
    """CUDA that was looked at before a fork cannot be used after it (R17)."""
    subprocess.run([sys.executable, "-c", _ASKS_NO_CARD], check=True)


def test_an_engine_has_the_settings_it_was_given_and_not_those_of_the_nursery(own: Nursery, tmp_path: Path) -> None:
    environment = Settings(data_dir=tmp_path, log_level="error").environment()
    with EngineProcess(assignment(tmp_path, kind="unheard_of"), environment, own) as child:
        said(child)
        assert child.log_tail() == ""


def test_an_engine_whose_nursery_dies_was_killed_and_the_next_has_another(own: Nursery, tmp_path: Path) -> None:
    with begun(tmp_path, own) as child:
        process, first = waiting(child), psutil.Process(own.pid)
        first.kill()
        until(lambda: child.exit_code() == -signal.SIGKILL)
        until(lambda: is_gone(process))
    with begun(tmp_path, own, "unheard_of") as child:
        said(child)
        assert child.exit_code() == 0
    assert own.pid != first.pid


def test_a_nursery_that_does_not_kill_is_ended_with_the_engine(
    own: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_process, "_SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(home, "_STOP_SECONDS", 0.1)
    with capture_logs() as logged, begun(tmp_path, own) as child:
        process, nursery = waiting(child), psutil.Process(own.pid)
        nursery.suspend()
        child.kill()
        assert child.exit_code() == -signal.SIGKILL
    assert "nursery_silent" in [line["event"] for line in logged]
    until(lambda: is_gone(process) and is_gone(nursery))


def test_an_end_that_a_frozen_nursery_keeps_to_itself_is_found_out(
    own: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "_STOP_SECONDS", 0.1)
    with begun(tmp_path, own) as child:
        process, nursery = waiting(child), psutil.Process(own.pid)
        nursery.suspend()
        process.kill()
        until(lambda: not child.messages(0.1) and child._closed_at is not None)
        monkeypatch.setattr(engine_process, "_SILENCE_SECONDS", 0.2)
        until(lambda: child.exit_code() == -signal.SIGKILL)


def test_an_engine_killed_before_it_begins_never_does(tmp_path: Path) -> None:
    nursery = Nursery("worker.forks", lambda: os.environ)
    with begun(tmp_path, nursery) as child:
        child.kill()
        assert (child.pid, child.exit_code()) == (None, -signal.SIGKILL)
        with begun(tmp_path, nursery, "unheard_of") as following:
            said(following)
    nursery.end()
    (line, *_) = (json.loads(text) for text in (tmp_path / "engine.log").read_text().splitlines())
    assert line["pid"] == following.pid


def test_where_no_nursery_can_be_started_there_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no_python"))
    before = psutil.Process().num_fds()
    with pytest.raises(OSError, match="no process for an engine"):
        begun(tmp_path, Nursery("worker.forks", lambda: os.environ))
    assert psutil.Process().num_fds() == before


def test_a_worker_that_is_killed_leaves_neither_nursery_nor_engine(tmp_path: Path) -> None:
    mark = new_mark()
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path)], env={**os.environ, MARK: mark}, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"begun\n"
        owner.kill()
    assert wait_for_none(mark) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_has_no_job_has_its_engines_loaded_for_the_first_one(tidy: System) -> None:
    with running_worker(tidy, "idle") as worker:
        (nursery,) = until(lambda: [child for child in worker.process.children() if "worker.forks" in child.cmdline()])
        job_id = runs.submitted(tidy, epochs=runs.ENDLESS)
        engine = until(lambda: worker.engine)
        assert engine.ppid() == nursery.pid
        scenes.cancel(tidy, job_id)
