"""The door of the terminal: Ctrl-C ends a command that is still loading, whatever it is loading."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED = """
import importlib.abc, os, signal, sys
from contextlib import suppress

loading = sys.argv.pop(1)

class DropsExceptions(importlib.abc.MetaPathFinder):
    # as the start of some extension modules does
    def find_spec(self, name, path, target=None):
        if name == loading:
            with suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
sys.meta_path.insert(0, DropsExceptions())
from service.cli import main
main()
"""


@pytest.mark.parametrize(
    ("loading", "command"),
    [
        ("typer", ["version"]),
        ("l0core.kinds", ["schema"]),
        ("httpx", ["jobs"]),
        ("service.demo", ["demo", "--output", "demo-output"]),
        ("service.supervisor", ["up", "--host", "0.0.0.0"]),
    ],
)
def test_ctrl_c_ends_a_command_that_is_loading(loading: str, command: list[str], tmp_path: Path) -> None:
    program = [sys.executable, "-c", INTERRUPTED, loading, *command]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    assert list(tmp_path.iterdir()) == []
