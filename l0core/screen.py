"""What a person sees at the terminal and what a program reads there: tables, one JSON document, one sentence.

Results go to standard output, everything else to standard error. Where standard output is no terminal there is neither
colour nor wrapping: a row is a line.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NoReturn, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from l0core.plain import plain

_NO_WRAPPING = 100_000  # columns
_ABSENT = "-"
_SMALL = 1e-4
_SIZES = ((1e12, "tn"), (1e9, "bn"), (1e6, "m"))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table. Where the table is wider than the terminal, a `wraps` column gives way.

    `most` is how wide it is at the most where somebody looks.
    """

    heading: str
    justify: Literal["left", "right"] = "left"
    wraps: bool = False
    most: int | None = None


def left(heading: str) -> Column:
    """Give a column of words."""
    return Column(heading=heading)


def right(heading: str) -> Column:
    """Give a column of numbers."""
    return Column(heading=heading, justify="right")


def screen(*, stderr: bool = False) -> Console:
    """Give standard output, or standard error, as it is now; the same as long as it is: a note goes above a bar."""
    stream = sys.stderr if stderr else sys.stdout
    return _console(getattr(stream, "rich_proxied_file", stream))


@lru_cache(maxsize=2)
def _console(stream: TextIO) -> Console:
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _NO_WRAPPING)


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Table:
    """Give a table; a cell that is text is shown as it is, whatever is in it."""
    looked_at = sys.stdout.isatty()
    box, gap = (SIMPLE_HEAD, 1) if looked_at else (None, 2)  # a box has a column between two of its own
    made = Table(box=box, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        most = column.most if looked_at else None
        made.add_column(
            column.heading, justify=column.justify, no_wrap=not column.wraps, overflow="fold", max_width=most
        )
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def pairs(rows: Iterable[tuple[str, object]]) -> Table:
    """Give names and values, a line each."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, _cell(value))
    return made


def _cell(value: object) -> RenderableType:
    if value is None:
        return Text(_ABSENT, style="dim")
    return Text(printable(value)) if isinstance(value, str) else value  # type: ignore[return-value]  # rich's own


def printable(text: str) -> str:
    r"""Give a text without what would move the cursor or change a colour.

    >>> printable("age \x1b[31m\n")
    'age ?[31m?'
    """
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def show(what: RenderableType) -> None:
    """Print a result for people."""
    screen().print(what)


def show_text(text: str) -> None:
    """Print one line of a result as it is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show_json(document: Any, *, as_line: bool = False) -> None:
    """Print a result for programs: one JSON document, or one line of a stream of them."""
    show_text(json.dumps(plain(document), indent=None if as_line else 2))


def note(sentence: str) -> None:
    """Say something beside the result."""
    screen(stderr=True).print(Text(sentence), soft_wrap=True)


def fail(sentence: str, code: int = 1) -> NoReturn:
    """End with one sentence on standard error."""
    text = Text("error: ", style="red") + Text(printable(sentence), style="default")
    screen(stderr=True).print(text, soft_wrap=True)
    sys.exit(code)


def percent(share: float | None) -> str:
    """Give a share in at most seven characters.

    >>> percent(1e-9), percent(0.0123), percent(12.3), percent(0.0), percent(None)
    ('<0.01%', '1.23%', '1,230%', '0%', '-')
    """
    if share is None:
        return _ABSENT
    if share == 0:
        return "0%"
    if abs(share) < _SMALL:
        return "<0.01%"
    return f"{share:,.0%}" if abs(share) >= 10 else f"{share:.2%}"


def signed_percent(share: float | None) -> str:
    """Give a relative error with its sign.

    >>> signed_percent(-0.0123), signed_percent(0.5), signed_percent(-1e-9)
    ('-1.23%', '+50.00%', '<0.01%')
    """
    return percent(share) if share is None or abs(share) < _SMALL or share < 0 else f"+{percent(share)}"


def short(value: float | None) -> str:
    """Give a number in at most eight characters or so.

    >>> short(32_357_573_000), short(11_390), short(0.5), short(12), short(3.6e-14), short(None)
    ('32.36bn', '11,390', '0.5', '12', '3.6e-14', '-')
    """
    if value is None:
        return _ABSENT
    for size, unit in _SIZES:
        if size <= abs(value) < 1e15:
            return f"{value / size:.2f}{unit}"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:.4g}"
