"""Curves over epochs, on a log axis."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from l0core.plots.drawing import Scale, document, heading, path, shortened, text
from l0core.plots.wording import counted, power_of_ten, short_number

_CHART_WIDTH, _CHART_HEIGHT = 420, 290  # three fit beside one another, one fits a phone
_MOST_POINTS = 400  # of a curve: one a pixel
_LEAST_SPAN = math.log10(1.5)  # of a log axis, so that a constant series has ticks above and below
_Points = list[tuple[float, float]]
_DASHES = ("none", "7 3", "2 3", "8 3 2 3")
_MANTISSAS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
    (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0),
)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a line chart: `values[i]` held at `steps[i]`."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]


def line_chart(curves: Sequence[Curve], *, title: str, over: str = "epoch") -> str:
    """Give an SVG of one to four curves over epochs on a log axis; what is not above 0 is left out, and it says so.

    `over` is what is counted to the right, in the singular.

    >>> "10⁻⁶" in line_chart([Curve(name="loss", steps=[1, 2], values=[1.0, 1e-6])], title="Loss")
    True
    """
    runs = [_runs(curve) for curve in curves]
    frame = _frame([point for curve in runs for run in curve for point in run])
    hidden = sum(not _drawable(value) for curve in curves for value in curve.values)
    label = f"{over} ({counted(hidden, 'value')} not above 0 left out)" if hidden else over
    parts = itertools.chain(
        heading(title, ""),
        _line_legend(curves),
        frame.draw(label) if any(runs) else [text(_CHART_WIDTH / 2, 160, "nothing above 0 to draw", "mid quiet")],
        *(_curve(i, curve, frame) for i, curve in enumerate(runs)),
    )
    return document(_CHART_WIDTH, _CHART_HEIGHT, title, _line_description(curves, over), parts)


def _drawable(value: float) -> bool:
    return math.isfinite(value) and value > 0


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """The axes of a line chart: epochs to the right, log10 of the value up."""

    x: Scale
    y: Scale

    def draw(self, label: str) -> Iterator[str]:
        """Give grid, ticks and the name of the axis."""
        for place, name in _log_ticks(self.y.low, self.y.high):
            yield path([(self.x.start, self.y(place)), (self.x.end, self.y(place))], "grid")
            yield text(self.x.start - 8, self.y(place) + 4, name, "end quiet")
        yield path([(self.x.start, self.y.start), (self.x.end, self.y.start)], "axis")
        for epoch in _epoch_ticks(self.x.low, self.x.high):
            yield path([(self.x(epoch), self.y.start), (self.x(epoch), self.y.start + 4)], "axis")
            yield text(self.x(epoch), self.y.start + 18, f"{epoch:,}", "mid quiet")
        yield text((self.x.start + self.x.end) / 2, self.y.start + 36, label, "mid head")


def _runs(curve: Curve) -> list[_Points]:
    """Give the stretches a log axis can show, as (step, log10 value)."""
    every = max(1, len(curve.steps) // _MOST_POINTS)
    points = [*zip(curve.steps, curve.values, strict=True)]
    thinned = points[::-every][::-1]  # the last one always stays
    runs = itertools.groupby(thinned, key=lambda point: _drawable(point[1]))
    return [[(float(step), math.log10(value)) for step, value in run] for drawable, run in runs if drawable]


def _frame(points: _Points) -> _Frame:
    steps, values = zip(*points, strict=True) if points else ((0.0,), (0.0,))
    first, last = min(steps), max(steps)
    beside = 0 if last > first else 1
    span = max(values) - min(values)
    above = max(_LEAST_SPAN - span, 0.08 * span) / 2  # and below: no curve runs along the edge
    return _Frame(
        x=Scale(low=first - beside, high=last + beside, start=62, end=_CHART_WIDTH - 34),
        y=Scale(low=min(values) - above, high=max(values) + above, start=_CHART_HEIGHT - 50, end=78),
    )


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Give (log10 value, label) with two to six labels: decades, or parts of one where the range is short."""
    stride = 1 + math.floor(high - low) // 6
    decades = [e for e in range(math.floor(low), math.ceil(high) + 1) if e % stride == 0]
    for mantissas in _MANTISSAS:
        ticks = [(e + math.log10(m), power_of_ten(m, e)) for e in decades for m in mantissas]
        inside = [tick for tick in ticks if low <= tick[0] <= high]
        if len(inside) >= 3:
            return inside
    return inside


def _epoch_ticks(low: float, high: float) -> range:
    wanted = max(1.0, (high - low) / (5 if high < 1e6 else 3))  # millions are wide
    magnitude = 10 ** math.floor(math.log10(wanted))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= wanted)
    return range(max(0, math.ceil(low / step) * step), math.floor(high) + 1, step)


def _line_legend(curves: Sequence[Curve]) -> Iterator[str]:
    x, sample, letter = 16.0, 46, 6.6
    for i, curve in enumerate(curves):
        name = shortened(curve.name, int(((_CHART_WIDTH - 20) / len(curves) - sample) / letter))
        yield f'<g class="c{i % 4}">{path([(x, 50), (x + 22, 50)], "curve", _DASHES[i % 4])}</g>'
        yield text(x + 28, 54, name, "")
        x += sample + letter * len(name)


def _curve(index: int, runs: list[_Points], frame: _Frame) -> Iterator[str]:
    yield f'<g class="c{index % 4}">'
    for run in runs:
        places = [(frame.x(step), frame.y(value)) for step, value in run]
        yield path(places, "curve", _DASHES[index % 4])
        if len(places) == 1:
            yield f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3"/>'
    yield "</g>"


def _line_description(curves: Sequence[Curve], over: str) -> str:
    said = (f"{c.name} from {short_number(c.values[0])} to {short_number(c.values[-1])}" for c in curves if c.values)
    return f"Over the {over}s: {'; '.join(said) or 'nothing was logged'}."
