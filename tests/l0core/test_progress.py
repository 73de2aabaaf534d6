"""The progress bar: on standard error alone, and an error with a name where it cannot be shown."""

import sys

import pytest

from l0core.errors import MissingPackage
from l0core.progress import progress_bar


def test_the_bar_goes_to_standard_error_and_to_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("fitting", 3) as advance:
        advance(1, "mean error 0.5")
        advance(3, "mean error 0.25")
    shown = capsys.readouterr()
    assert shown.out == ""
    for words in ("fitting", "3/3", "mean error 0.25"):
        assert words in shown.err


def test_the_block_s_error_comes_through() -> None:
    with pytest.raises(ZeroDivisionError), progress_bar("fitting", 3):
        raise ZeroDivisionError


def test_without_rich_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(MissingPackage, match=r"a progress bar needs rich.*pip install rich") as caught:
        progress_bar("fitting", 3).__enter__()
    assert caught.value.package == "rich"
    assert isinstance(caught.value, ImportError)
