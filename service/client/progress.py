"""How a job comes on, shown to who waits: a bar in a terminal or a notebook, else a line now and then."""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Show = Callable[[dict[str, Any]], None]
_LINE_SECONDS = 10.0
_ENDED = ("succeeded", "failed", "cancelled")
_NO_RICH = 'a progress bar needs rich: pip install "l0-calibration[terminal]", or wait without progress'


@contextmanager
def shown_progress() -> Iterator[Show]:
    """Give what shows a job's states: a bar where there is somebody to see it move, else lines on standard error."""
    in_notebook = "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets") is not None
    if in_notebook or sys.stderr.isatty():
        with bar(None if in_notebook else sys.stderr) as show:
            yield show
    else:
        yield lines(sys.stderr)


@contextmanager
def bar(stream: TextIO | None = None, console: "Console | None" = None) -> Iterator[Show]:
    """Give what moves a bar on this stream or console: epochs, loss, units, error, time left."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError as error:
        raise ImportError(_NO_RICH) from error
    columns = (TextColumn("{task.description:<12}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    on = console or Console(file=stream)
    with Progress(*columns, TextColumn("{task.fields[fit]}"), TimeElapsedColumn(), console=on) as progress:
        task = progress.add_task("queued", total=100, fit="")
        yield lambda state: progress.update(task, **_on_a_bar(state))


def _on_a_bar(state: dict[str, Any]) -> dict[str, Any]:
    """Give what a bar shows of a job's state."""
    told = state["progress"]
    if not told:
        return {"description": _word(state)}
    return {"description": _word(state), "completed": told["epoch"], "total": told["epochs"], "fit": _fit(told)}


def _word(state: dict[str, Any]) -> str:
    word = state["status"] if state["status"] in _ENDED else state["stage"]
    return str(word).replace("_", " ")


def _fit(progress: dict[str, Any]) -> str:
    """Give the numbers of a job's progress that are known, in words.

    >>> _fit({"loss": 0.5, "active": 400.0, "mean_abs_relative_error": 0.0123, "eta_seconds": 75.2})
    'loss 0.5, 400 units, error 1.23%, 1:15 left'
    """
    known = {name: value for name, value in progress.items() if value is not None}
    forms: dict[str, Callable[[float], str]] = {
        "loss": lambda value: f"loss {value:.3g}",
        "active": lambda value: f"{value:,.0f} units",
        "mean_abs_relative_error": lambda value: f"error {value:.2%}",
        "eta_seconds": lambda value: f"{value // 60:.0f}:{value % 60:02.0f} left",
    }
    return ", ".join(form(known[name]) for name, form in forms.items() if name in known)


def lines(stream: TextIO) -> Show:
    """Give what writes a line where the stage is another, and otherwise every ten seconds at most."""
    last: list[tuple[str, float]] = [("", 0.0)]

    def show(state: dict[str, Any]) -> None:
        word, at = last[0]
        if _word(state) != word or time.monotonic() - at >= _LINE_SECONDS:
            last[0] = (_word(state), time.monotonic())
            stream.write(f"{_as_line(state)}\n")
            stream.flush()

    return show


def _as_line(state: dict[str, Any]) -> str:
    told = state["progress"]
    numbers = f": epoch {told['epoch']:.0f} of {told['epochs']:.0f}, {_fit(told)}" if told else ""
    return f"{state['id']} {_word(state)}{numbers}"
