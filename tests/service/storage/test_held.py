"""Temporary files of the living are held; those of the dead are found."""

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from service.storage.held import held_file, held_folder, is_abandoned

Hold = Callable[[Path], AbstractContextManager[Path]]
BOTH = pytest.mark.parametrize("hold", [held_file, held_folder])
_HOLD_FOR_EVER = """
import sys, time
from pathlib import Path
from service.storage import held
with getattr(held, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(600)
"""


@BOTH
def test_what_is_held_is_not_abandoned_and_is_gone_in_the_end(hold: Hold, tmp_path: Path) -> None:
    with hold(tmp_path) as path:
        assert list(tmp_path.iterdir()) == [path]
        assert not is_abandoned(path)
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_what_was_moved_away_is_not_missed(hold: Hold, tmp_path: Path) -> None:
    with hold(tmp_path) as path:
        path.rename(tmp_path / "kept")
    assert [left.name for left in tmp_path.iterdir()] == ["kept"]


@BOTH
def test_what_a_killed_process_held_is_abandoned(hold: Hold, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLD_FOR_EVER, hold.__name__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (path,) = tmp_path.iterdir()
        before = is_abandoned(path)
        process.send_signal(signal.SIGKILL)
    assert (before, is_abandoned(path)) == (False, True)


def test_what_was_never_held_is_not_abandoned(tmp_path: Path) -> None:
    (tmp_path / "tmp123").write_bytes(b"")
    assert not is_abandoned(tmp_path / "tmp123")
    assert not is_abandoned(tmp_path / "held-gone")
