"""The summary of a result as a person reads it: as its kind shows it, else a line a number."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from l0core.kinds import KINDS
from l0core.screen import pairs, short


def summary_of(kind: str, summary: Mapping[str, Any]) -> RenderableType:
    """Give the summary of a result of this kind as a table.

    Of a kind that is not known here, and of a release whose summary lacks what the table shows, every number of it.
    """
    show = KINDS[kind].shows_summary() if kind in KINDS else None
    try:
        return pairs(_numbers(summary)) if show is None else show(summary)
    except KeyError:
        return pairs(_numbers(summary))


def _numbers(summary: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Give every number by its name, those of a part after the part's.

    >>> list(_numbers({"loss": 0.5, "kept": {"first": 3}, "note": "x"}))
    [('loss', '0.5'), ('kept first', '3')]
    """
    for name, value in summary.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{within}{name} ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield within + name, short(value)
