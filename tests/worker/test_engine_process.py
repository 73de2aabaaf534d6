"""A child process seen from its worker."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from service.settings import Settings
from tests.service.jobs.waiting import until
from tests.worker.runs import is_gone
from worker.engine_process import EngineProcess
from worker.messages import Assignment, FailedMessage, Message, StageMessage


def assignment(folder: Path, *, kind: str) -> Assignment:
    """Give work that fails at once: there is no such problem, or no such kind."""
    return Assignment(
        job_id="job_1",
        attempt=1,
        token="0" * 32,
        kind=kind,
        problem_key="problems/prb_nobody",
        hyperparameters={},
        seed=0,
        device="cpu",
        log_every=None,
        checkpoint_every=None,
        checkpoint_key=None,
        checkpoint_sha256=None,
        folder=str(folder),
    )


@pytest.fixture
def child(tmp_path: Path) -> Iterator[EngineProcess]:
    environment = Settings(data_dir=tmp_path).environment()
    with EngineProcess(assignment(tmp_path, kind="unheard_of"), environment) as started:
        yield started


def said(child: EngineProcess) -> list[Message]:
    """Give everything the child says until it has ended."""
    told: list[Message] = []

    def ended() -> bool:
        over = child.exit_code() is not None
        told.extend(child.messages(0 if over else 0.2))
        return over

    until(ended)
    return told


def test_what_a_child_says_arrives_in_order_and_whole(child: EngineProcess) -> None:
    first, last = said(child)
    assert first == StageMessage(stage="loading")
    assert last == FailedMessage(code="engine_crashed", detail="the engine raised KeyError; the log has it")
    assert child.exit_code() == 0


def test_the_log_has_what_the_message_does_not_tell(child: EngineProcess) -> None:
    said(child)
    *_, line = (json.loads(line) for line in child.log_tail().splitlines())
    (raised,) = line["exception"]
    assert (line["event"], raised["exc_type"], raised["exc_value"]) == ("engine_ended", "KeyError", "'unheard_of'")


def test_telling_a_child_that_has_ended_to_stop_is_no_error(tmp_path: Path) -> None:
    with EngineProcess(assignment(tmp_path, kind="unheard_of"), Settings().environment()) as child:
        said(child)
        child.ask_to_stop()


def test_a_child_that_has_ended_says_no_more(child: EngineProcess) -> None:
    said(child)
    child.kill()
    assert child.messages(0) == []


def test_a_killed_child_is_known_by_its_signal(child: EngineProcess) -> None:
    child.kill()
    assert child.exit_code() == -signal.SIGKILL


def test_a_child_that_is_left_is_killed(tmp_path: Path) -> None:
    with EngineProcess(assignment(tmp_path, kind="unheard_of"), Settings().environment()) as child:
        process = psutil.Process(until(lambda: child.pid))
        process.send_signal(signal.SIGSTOP)
    assert is_gone(process)


def test_a_child_is_in_a_session_of_its_own(child: EngineProcess) -> None:
    pid = until(lambda: child.pid)
    until(lambda: os.getsid(pid) == pid)
