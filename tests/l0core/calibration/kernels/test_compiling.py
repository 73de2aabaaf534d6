"""Compiled code is kept on disk where that is possible, is never stale, and is never the reason that a call fails."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

import l0core
from l0core.calibration.kernels import compiling
from l0core.calibration.kernels.compiling import Function, compiled


def _halved(x: Any) -> Any:
    return x * 0.5


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def _compiled_and_run() -> Any:
    """Do what a new process does at its first call."""
    function: Any = compiled(_halved)
    assert function(np.float32(3)) == 1.5
    return function.stats


def test_compiled_code_is_kept_for_the_next_process(folder: Path) -> None:
    assert not _compiled_and_run().cache_hits
    assert {path.suffix for path in folder.rglob("*.nb?")} == {".nbi", ".nbc"}
    assert _compiled_and_run().cache_hits


@pytest.mark.usefixtures("folder")
def test_code_is_compiled_again_after_any_kernel_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    _compiled_and_run()
    monkeypatch.setattr(compiling, "_SOURCES", b"others")
    assert not _compiled_and_run().cache_hits


def test_a_change_in_any_file_of_the_kernels_counts(tmp_path: Path) -> None:
    home = tmp_path / "kernels"
    shutil.copytree(Path(compiling.__file__).parent, home, ignore=shutil.ignore_patterns("__pycache__"))
    before = runpy.run_path(str(home / "compiling.py"))["_SOURCES"]
    assert before == compiling._SOURCES
    changed = home / "maths.py"
    changed.write_text(changed.read_text().replace("1.44269504", "1.44269505"))
    assert runpy.run_path(str(home / "compiling.py"))["_SOURCES"] != before


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("length", [0, 60])
def test_a_torn_file_costs_a_compilation_and_nothing_else(folder: Path, suffix: str, length: int) -> None:
    _compiled_and_run()
    for path in folder.rglob(f"*{suffix}"):
        path.write_bytes(path.read_bytes()[:length])
    assert not _compiled_and_run().cache_hits


@pytest.mark.usefixtures("folder")
def test_a_full_disk_costs_a_compilation_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", full)
    assert not _compiled_and_run().cache_hits
    assert not _compiled_and_run().cache_hits


def test_where_no_folder_can_be_written_to_the_kernels_are_compiled_all_the_same(tmp_path: Path) -> None:
    """A folder below a regular file can be made by nobody, not by root either."""
    package = tmp_path / "l0core"
    shutil.copytree(Path(l0core.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (path for path in package.rglob("*") if path.is_dir()):
        (folder / "__pycache__").write_text("no folder")
    nowhere = str(package / "__init__.py" / "cache")
    program = (
        "import numpy as np, l0core\n"
        "from l0core.calibration.kernels import fused\n"
        "rows, none = fused.gather_up(np.ones((2, 3)), *np.zeros((2, 0), np.int64)), fused.push._cache\n"
        "print(l0core.__file__, rows.tolist(), none.cache_path)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | dict.fromkeys(("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"), nowhere),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1) == [str(package / "__init__.py"), "[2.0, 2.0, 2.0] None\n"]


@pytest.mark.parametrize("make", [compiled, compiling.compiled_fast, compiling.compiled_parallel])
@pytest.mark.usefixtures("folder")
def test_a_division_by_zero_gives_infinity(make: Function) -> None:
    assert make(_one_over)(np.zeros(3, dtype=np.float32)).tolist() == [np.inf] * 3


def _one_over(x: Any) -> Any:
    out = np.empty_like(x)
    for j in numba.prange(x.size):
        out[j] = np.float32(1) / x[j]
    return out
