"""A progress bar on standard error, for fits at the terminal and in notebooks. `rich` is loaded when one is shown."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from l0core.errors import MissingPackage

Advance = Callable[[int, str], None]  # (steps done, what to say beside the bar)


@contextmanager
def progress_bar(title: str, total: int, *, transient: bool = False) -> Iterator[Advance]:
    """Show a bar of `total` steps while the block runs; `transient`: it disappears at the end.

    Raises MissingPackage where rich is not installed.
    """
    try:
        from rich.console import Console  # noqa: PLC0415  # loaded for those who look
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    except ImportError as error:
        raise MissingPackage("rich", needed_for="a progress bar") from error
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=transient) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


def bar_if(shown: bool, title: str, total: int) -> AbstractContextManager[Advance]:
    """Give a progress bar, or nothing that takes the same calls."""
    return progress_bar(title, total) if shown else nullcontext(lambda _done, _note: None)
