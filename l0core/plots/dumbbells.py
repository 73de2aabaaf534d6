"""Errors before and after, one row a target, on a symmetric-log axis."""

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from l0core.plots.drawing import Scale, document, heading, path, safe, shortened, text
from l0core.plots.wording import counted, percent, power_of_ten

MOST_ROWS = 30  # dumbbells that still fit a screen
_LARGEST_ERROR = 1e12  # drawn at the edge beyond it, so that sums of two ends stay finite
_SMALLEST_ERROR = 1e-14  # the rounding of float64: below it there is nothing to see
_LABEL_ROOM = 28  # pixels between 0 and the next label


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row of a dumbbell chart: a name, and its relative error (0.1 is 10 %) before and after."""

    name: str
    before: float
    after: float
    held_out: bool = False

    @property
    def label(self) -> str:
        """The name as it is shown."""
        return f"{self.name} (held out)" if self.held_out else self.name

    @property
    def worst(self) -> float:
        """The larger of the two absolute errors; infinite where one is no number, so that it is seen."""
        return max(abs(error) if math.isfinite(error) else math.inf for error in (self.before, self.after))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a dumbbell chart puts things, in pixels: texts stand `rise` above the line of their row."""

    width: int
    row_height: int
    rise: float
    name_width: float
    name_length: int
    left: float
    right: float
    columns: tuple[float, float]


WIDE = Layout(
    width=860, row_height=24, rise=-4, name_width=252, name_length=34, left=280, right=660, columns=(746, 844)
)
NARROW = Layout(
    width=380, row_height=46, rise=12, name_width=190, name_length=26, left=18, right=362, columns=(274, 364)
)


def dumbbell_chart(pairs: Sequence[Pair], *, title: str, note: str = "", layout: Layout = WIDE) -> str:
    """Give an SVG with one row a pair, worst first, on a symmetric-log axis in percent; the worst 30 when more.

    >>> "−35.0 %" in dumbbell_chart([Pair(name="adults", before=-0.35, after=0.001)], title="Errors")
    True
    """
    shown = heapq.nlargest(MOST_ROWS, pairs, key=lambda pair: pair.worst)
    axis = _error_axis(shown, layout)
    notes = [note, f"the worst {len(shown)} of {counted(len(pairs), 'target')}"] if len(pairs) > len(shown) else [note]
    top = 112
    bottom = top + layout.row_height * max(1, len(shown))
    parts = itertools.chain(
        heading(title, "; ".join(filter(None, notes))),
        _dumbbell_legend(layout),
        _error_grid(axis, layout, top - 8, bottom),
        *(_dumbbell(pair, axis, layout, top + layout.row_height * (i + 0.5)) for i, pair in enumerate(shown)),
    )
    return document(layout.width, bottom + 48, title, _dumbbell_description(shown), parts)


@dataclass(frozen=True, kw_only=True)
class _ErrorAxis:
    """The symmetric-log axis: linear below `threshold`, logarithmic beyond, 0 where 0 is."""

    threshold: float
    largest: float
    scale: Scale

    def __call__(self, error: float) -> float:
        return self.scale(_symlog(error, self.threshold))

    def ticks(self) -> Iterator[float]:
        """Give 0 and the powers of ten on both sides, at most five a side, where there is room for their labels."""
        decades = math.floor(math.log10(self.largest / self.threshold) + 1e-9)
        sizes = [self.threshold * 10.0**k for k in range(0, decades + 1, 1 + decades // 5)]
        yield 0.0
        for error in (sign * size for size in sizes for sign in (-1, 1)):
            inside = self.scale.low <= _symlog(error, self.threshold) <= self.scale.high
            if inside and abs(self(error) - self(0)) >= _LABEL_ROOM:
                yield error


def _symlog(error: float, threshold: float) -> float:
    return math.copysign(math.log1p(min(abs(error), _LARGEST_ERROR) / threshold), error)


def _error_axis(pairs: Sequence[Pair], layout: Layout) -> _ErrorAxis:
    errors = [e for pair in pairs for e in (pair.before, pair.after) if math.isfinite(e)]
    largest = max(_SMALLEST_ERROR, min(_LARGEST_ERROR, max(map(abs, errors), default=0.0) or 0.01))
    threshold = min(0.01, 10.0 ** (math.floor(math.log10(largest)) - 1))
    places = [_symlog(e, threshold) for e in errors]
    least = 1.1 * _symlog(threshold, threshold)  # on both sides of 0: 0 is never at the edge
    low, high = min([-least, *places]), max([least, *places])
    scale = Scale(low=low, high=high, start=layout.left + 8, end=layout.right - 8)
    return _ErrorAxis(threshold=threshold, largest=largest, scale=scale)


def _error_grid(axis: _ErrorAxis, layout: Layout, top: float, bottom: float) -> Iterator[str]:
    for error in axis.ticks():
        x = axis(error)
        yield path([(x, top), (x, bottom)], "axis" if error == 0 else "grid")
        yield text(x, bottom + 17, _error_tick(error), "mid quiet")
    label = f"relative error; linear within ±{_error_tick(axis.threshold)}, logarithmic beyond"
    yield text((layout.left + layout.right) / 2, bottom + 36, label, "mid head")


def _error_tick(error: float) -> str:
    if error == 0:
        return "0"
    exponent = round(math.log10(abs(error))) + 2
    return f"{'−' if error < 0 else ''}{power_of_ten(1, exponent)} %"


def _dumbbell_legend(layout: Layout) -> Iterator[str]:
    yield _mark(22, 68, before=True)
    yield text(34, 72, "survey weights", "")
    yield _mark(142, 68, before=False)
    yield text(154, 72, "calibrated weights", "")
    for x, name in zip(layout.columns, ("survey", "calibrated"), strict=True):
        yield text(x, 96, name, "end head")


def _mark(x: float, y: float, *, before: bool) -> str:
    kind = 'class="c1 hollow"' if before else 'class="c0"'
    return f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'


def _dumbbell(pair: Pair, axis: _ErrorAxis, layout: Layout, y: float) -> Iterator[str]:
    ends = pair.before, pair.after
    values = [percent(error, signed=True) for error in ends]
    yield f"<g><title>{safe(f'{pair.label}: {values[0]} before, {values[1]} after')}</title>"
    yield path([(layout.left, y), (layout.right, y)], "grid")
    if all(map(math.isfinite, ends)):
        yield path([(axis(error), y) for error in ends], "bar")
    yield from (_mark(axis(e), y, before=i == 0) for i, e in enumerate(ends) if math.isfinite(e))
    yield _name(pair.label, layout, y - layout.rise)
    yield from (text(x, y - layout.rise, v, "end") for x, v in zip(layout.columns, values, strict=True))
    yield "</g>"


def _name(label: str, layout: Layout, y: float) -> str:
    """Give the name in a window of its own: wide letters are cut, and never run into the picture."""
    window = f'<svg x="16" y="{y - 14:.1f}" width="{layout.name_width:.1f}" height="20">'
    return f"{window}{text(0, 14, shortened(label, layout.name_length), '')}</svg>"


def _dumbbell_description(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return "No targets."
    worst = pairs[0]
    before, after = (percent(error, signed=True) for error in (worst.before, worst.after))
    return (
        "Relative error of each target under the survey weights and under the calibrated weights, worst first. "
        f"At the top: {shortened(worst.label, 120)}, {before} before and {after} after."
    )
