"""What a child hears on its standard input."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

LISTENING = """
import threading
from worker.child import _listen
stop = threading.Event()
threading.Thread(target=_listen, args=(stop,), daemon=True).start()
print("listening", flush=True)
stop.wait()
print("told", flush=True)
threading.Event().wait()  # a loop that asks for no word to stop
"""


@pytest.fixture
def child() -> Iterator["subprocess.Popen[str]"]:
    """A process that listens as a child does."""
    command = [sys.executable, "-c", LISTENING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert heard(process) == "listening\n"
        yield process
        process.kill()


def heard(process: "subprocess.Popen[str]") -> str:
    """Give the next line it says."""
    assert process.stdout is not None
    return process.stdout.readline()


def tell(process: "subprocess.Popen[str]", line: str) -> None:
    """Say a line to it."""
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


@pytest.mark.parametrize("told", [False, True])
def test_a_child_whose_worker_dies_leaves_whether_it_was_told_to_stop_or_not(
    child: "subprocess.Popen[str]", *, told: bool
) -> None:
    if told:
        tell(child, "stop\n")
        assert heard(child) == "told\n"
    assert child.poll() is None
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(60) == 1
