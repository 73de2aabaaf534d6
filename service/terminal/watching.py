"""A job as it runs: a progress bar, a line a stage; restarts of the service are waited out."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from l0core import screen
from l0core.screen import percent, short

if TYPE_CHECKING:
    from rich.progress import Progress

    from service.client import Client

ENDED = ("succeeded", "failed", "cancelled")
PATIENCE_SECONDS = 120.0
_WAIT_SECONDS = 20.0
_PAUSE_SECONDS = 1.0
_UNSERVED = 500  # from here on a refusal is none: a proxy before a service that restarts, or a database that is away

Document = dict[str, Any]
Show = Callable[[Document], None]
T = TypeVar("T")


def states(client: "Client", job_id: str) -> Iterator[Document]:
    """Give a job now and at every change, the last time as it has ended."""
    from service.terminal import calls

    state = calls.job(client, job_id)
    yield state
    while state["status"] not in ENDED:
        version = state["version"]
        state = patiently(partial(calls.newer, client, state, _WAIT_SECONDS))
        if state["version"] != version:
            yield state


def patiently(ask: Callable[[], T]) -> T:
    """Ask until there is an answer, two minutes at the most."""
    from httpx import TransportError

    from service.client import ClientError

    limit = time.monotonic() + PATIENCE_SECONDS
    lost = False
    while True:
        try:
            answer = ask()
        except (TransportError, ClientError) as error:
            if time.monotonic() > limit or (isinstance(error, ClientError) and error.status < _UNSERVED):
                raise
            if not lost:
                screen.note(f"the service does not answer; asking again for {PATIENCE_SECONDS:.0f} seconds")
            lost = True
            time.sleep(_PAUSE_SECONDS)
        else:
            if lost:
                screen.note("the service answers again")
            return answer


def followed(client: "Client", job_id: str, tell: Show) -> Document:
    """Show a job until it has ended, telling each state; gives the last."""
    state: Document = {}
    with _shown() as show:
        for state in states(client, job_id):
            show(state)
            tell(state)
    return state


@contextmanager
def _shown() -> Iterator[Show]:
    """Give what shows a state: a bar at a terminal, else a line a stage; both on standard error."""
    if not screen.screen(stderr=True).is_terminal:
        yield _Lines().show
        return
    with _bar() as bar:
        yield _Bar(bar).show


class _Lines:
    """A line for every stage that a job enters."""

    def __init__(self) -> None:
        self._said = ""

    def show(self, state: Document) -> None:
        stage = _stage(state)
        if stage != self._said:
            screen.note(f"{stage}{_where(state)}")
        self._said = stage


class _Bar:
    """A bar, and above it a line for every stage that a job has left."""

    def __init__(self, bar: "Progress") -> None:
        self._bar, self._task = bar, bar.add_task("", total=None, stage="", fit="")
        self._stage, self._since = "", time.monotonic()

    def show(self, state: Document) -> None:
        stage = _stage(state)
        if stage != self._stage:
            now = time.monotonic()
            if self._stage:
                self._bar.console.print(f"  {self._stage} {duration(now - self._since)}", style="dim", markup=False)
            self._stage, self._since = stage, now
        self._bar.update(self._task, **_fields(state))


def _bar() -> "Progress":
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    words = TextColumn("{task.fields[stage]}"), TextColumn("{task.fields[fit]}")
    return Progress(
        SpinnerColumn(),
        words[0],
        BarColumn(bar_width=20, complete_style="cyan", finished_style="green"),
        words[1],
        TimeElapsedColumn(),
        console=screen.screen(stderr=True),
    )


def _fields(state: Document) -> dict[str, Any]:
    """Give what the bar shows of a state."""
    progress = state["progress"] or {}
    ended = state["status"] in ENDED
    total = progress.get("epochs")
    done = total if ended and state["status"] == "succeeded" else progress.get("epoch", 0)
    if ended and total is None:
        total, done = 1, int(state["status"] == "succeeded")
    return {"stage": _stage(state), "total": total, "completed": done, "fit": _fit(state)}


def _stage(state: Document) -> str:
    if state["status"] in ENDED:
        return str(state["status"])
    if state["cancel_requested_at"] is not None:
        return "stopping"
    words = str(state["stage"] or state["status"]).replace("_", " ")
    return f"{words} (no sign of life)" if state["stalled"] else words


def _where(state: Document) -> str:
    return f": {fit}" if (fit := _fit(state)) else ""


def _fit(state: Document) -> str:
    """Give epoch, units, loss, error and the time that is left, as far as they are known."""
    progress, fit = state["progress"], fit_of(state)
    if not progress:
        return ""
    said = [
        f"{progress['epoch']:,.0f}/{progress['epochs']:,.0f}",
        _named("units", fit.get("active"), "{:,.0f}".format),
        _named("loss", fit.get("loss"), short),
        _named("error", fit.get("mean_abs_relative_error"), percent),
        "" if state["status"] in ENDED else _named("left", progress.get("eta_seconds"), duration),
    ]
    return "  ".join(part for part in said if part)


def fit_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Give loss, active and mean_abs_relative_error: of the result where there is one, else where the run is."""
    summary = state["summary"] or {}
    return {
        **(state["progress"] or {}),
        **summary,
        **({"active": summary["n_active"]} if "n_active" in summary else {}),
    }


def _named(name: str, number: float | None, shown: Callable[[float], str]) -> str:
    return "" if number is None else f"{name} {shown(number)}"


def duration(seconds: float) -> str:
    """Give a time in one unit.

    >>> duration(12.3), duration(125), duration(7300), duration(200_000)
    ('12 s', '2 min', '2 h', '2 d')
    """
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
