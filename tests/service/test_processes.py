"""Child processes that never outlive their parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from service.processes import end, spawn
from tests.service.jobs.waiting import until

FOREVER = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin = None; import time; time.sleep(1e6)"]
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(1e6)
"""
PARENT = """
import sys, time
from service.processes import spawn
print(spawn([sys.executable, "-c", "import time; time.sleep(1e6)"]).pid, flush=True)
time.sleep(1e6)
"""


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    started = spawn(FOREVER, stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"up\n"
    yield started
    started.kill()
    started.communicate()


def test_a_child_has_a_session_of_its_own(child: "subprocess.Popen[bytes]") -> None:
    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_a_child_has_the_environment_it_is_given() -> None:
    program = [sys.executable, "-c", "import os; print(os.environ['L0_MADE_UP'])"]
    child = spawn(program, environment={"L0_MADE_UP": "yes"}, stdout=subprocess.PIPE)
    assert child.communicate()[0] == b"yes\n"


def test_a_child_dies_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_child_that_is_asked_to_end_ends(child: "subprocess.Popen[bytes]") -> None:
    end(child, 60)
    assert child.returncode == -signal.SIGTERM


def test_ending_a_child_that_has_ended_is_no_error(child: "subprocess.Popen[bytes]") -> None:
    end(child, 60)
    end(child, 60)
    assert child.returncode == -signal.SIGTERM


def test_a_child_that_does_not_end_is_killed(tmp_path: Path) -> None:
    child = spawn([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    end(child, 0.2)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
