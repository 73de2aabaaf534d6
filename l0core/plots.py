"""Two kinds of picture as SVG text: errors before and after as dumbbells, and curves over epochs.

Pure: numbers in, one self-contained SVG out, readable in light and dark, inside a page and as a file of its own. The
colours are those of Okabe and Ito, which colour-blind readers tell apart; marks differ in shape or dash as well.
Read `dumbbell_chart` and `line_chart` next; everything below them draws one part of a picture.
"""

import heapq
import html
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MOST_ROWS = 30  # dumbbells that still fit a screen
_CHART_WIDTH, _CHART_HEIGHT = 420, 290  # of a line chart: three fit beside one another, one fits a phone
_MOST_POINTS = 400  # of a curve: one a pixel
_LARGEST_ERROR = 1e12  # drawn at the edge beyond it, so that sums of two ends stay finite
_SMALLEST_ERROR = 1e-14  # the rounding of float64: below it there is nothing to see
_LABEL_ROOM = 28  # pixels between 0 and the next label
_LEAST_SPAN = math.log10(1.5)  # of a log axis, so that a constant series has ticks above and below
_Points = list[tuple[float, float]]
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
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
class Theme:
    """The colours of one scheme: background, text, and up to four series."""

    paper: str
    ink: str
    series: tuple[str, str, str, str]

    def css(self) -> str:
        """Give the rules; every mark then draws in `currentColor`."""
        series = "".join(f".plot .c{i}{{color:{colour}}}" for i, colour in enumerate(self.series))
        return (
            f".plot{{color:{self.ink}}}{series}"
            f".plot text{{stroke:{self.paper}}}.plot .paper,.plot .hollow{{fill:{self.paper}}}"
        )


LIGHT = Theme(paper="#ffffff", ink="#1c2330", series=("#0072B2", "#D55E00", "#009E73", "#CC79A7"))
DARK = Theme(paper="#171c24", ink="#e4e8ef", series=("#56B4E9", "#E69F00", "#009E73", "#CC79A7"))
_STYLE = (
    ".plot{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
    "font-variant-numeric:tabular-nums}"
    ".plot text{fill:currentColor;stroke-width:4px;paint-order:stroke}"
    ".plot .title{font-size:15px;font-weight:600}.plot .quiet{opacity:.72}"
    ".plot .end{text-anchor:end}.plot .mid{text-anchor:middle}.plot .head{font-size:11px;opacity:.72}"
    ".plot path{fill:none;stroke:currentColor}.plot .grid{opacity:.13}.plot .axis{opacity:.6}"
    ".plot .bar{opacity:.3;stroke-width:3}.plot .curve{stroke-width:2;stroke-linejoin:round}"
    ".plot circle{stroke:currentColor;stroke-width:2;fill:currentColor}"
    f"{LIGHT.css()}@media (prefers-color-scheme:dark){{{DARK.css()}}}"
)


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
class Curve:
    """One line of a line chart: `values[i]` held after `steps[i]` epochs."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]


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
        _heading(title, "; ".join(filter(None, notes))),
        _dumbbell_legend(layout),
        _error_grid(axis, layout, top - 8, bottom),
        *(_dumbbell(pair, axis, layout, top + layout.row_height * (i + 0.5)) for i, pair in enumerate(shown)),
    )
    return _document(layout.width, bottom + 48, title, _dumbbell_description(shown), parts)


def line_chart(curves: Sequence[Curve], *, title: str) -> str:
    """Give an SVG of one to four curves over epochs on a log axis; what is not above 0 is left out, and it says so.

    >>> "10⁻⁶" in line_chart([Curve(name="loss", steps=[1, 2], values=[1.0, 1e-6])], title="Loss")
    True
    """
    runs = [_runs(curve) for curve in curves]
    frame = _frame([point for curve in runs for run in curve for point in run])
    hidden = sum(not _drawable(value) for curve in curves for value in curve.values)
    label = f"epoch ({counted(hidden, 'value')} not above 0 left out)" if hidden else "epoch"
    parts = itertools.chain(
        _heading(title, ""),
        _line_legend(curves),
        frame.draw(label) if any(runs) else [_text(_CHART_WIDTH / 2, 160, "nothing above 0 to draw", "mid quiet")],
        *(_curve(i, curve, frame) for i, curve in enumerate(runs)),
    )
    return _document(_CHART_WIDTH, _CHART_HEIGHT, title, _line_description(curves), parts)


def percent(share: float, *, signed: bool = False) -> str:
    """Give a share as text in percent with three significant digits.

    >>> percent(-0.58783, signed=True), percent(0.000012), percent(1e-9), percent(0.0), percent(31.4)
    ('−58.8 %', '0.00120 %', '<0.0001 %', '0 %', '3,140 %')
    """
    if not math.isfinite(share):
        return "no number"
    sign = "" if share == 0 or not (signed or share < 0) else "−" if share < 0 else "+"
    return f"{sign}{_unsigned_percent(abs(share))} %" if share == 0 or abs(share) >= 1e-6 else "<0.0001 %"


def counted(n: int, noun: str) -> str:
    """Give a number with its noun.

    >>> counted(1, "target"), counted(37_000, "target")
    ('1 target', '37,000 targets')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def power_of_ten(mantissa: float, exponent: int) -> str:
    """Give mantissa x 10^exponent as a reader writes it.

    >>> power_of_ten(3, -2), power_of_ten(1, 4), power_of_ten(1, -7), power_of_ten(2.5, 9)
    ('0.03', '10,000', '10⁻⁷', '2.5×10⁹')
    """
    if -4 <= exponent <= 5:
        return f"{mantissa * 10.0**exponent:,g}"
    return f"{'' if mantissa == 1 else f'{mantissa:g}×'}10{str(exponent).translate(_SUPERSCRIPTS)}"


def short_number(value: float, *, shift: int = 0) -> str:
    """Give value x 10^shift with three significant digits, whatever its size.

    >>> short_number(6.56e-19), short_number(-1.7e308, shift=2), short_number(1234.5), short_number(math.nan)
    ('6.56×10⁻¹⁹', '−1.7×10³¹⁰', '1,230', 'no number')
    """
    if not math.isfinite(value):
        return "no number"
    mantissa, _, exponent = f"{abs(value):.2e}".partition("e")
    return f"{'−' if value < 0 else ''}{power_of_ten(float(mantissa), int(exponent) + shift)}"


def _unsigned_percent(share: float) -> str:
    if share == 0:
        return "0"
    if share >= 1e4:
        return short_number(share, shift=2)
    decimals = 2 - math.floor(math.log10(share * 100))
    return f"{share * 100:,.{max(0, decimals)}f}"


def _drawable(value: float) -> bool:
    return math.isfinite(value) and value > 0


# --- parts of every picture


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """The straight map of [low, high] onto the pixels [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _document(width: int, height: int, title: str, description: str, parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><title>{_safe(title)}</title><desc>{_safe(description)}</desc>'
        f'<style>{_STYLE}</style><rect class="paper" width="{width}" height="{height}" rx="10"/>{"".join(parts)}</svg>'
    )


def _heading(title: str, note: str) -> Iterator[str]:
    yield _text(16, 28, title, "title")
    if note:
        yield _text(16, 48, note, "quiet")


def _safe(text: str) -> str:
    """Give `text` escaped for XML; what has no shape of its own, or steers others, becomes a replacement sign."""
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in text))


def _text(x: float, y: float, content: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{_safe(content)}</text>'


def _path(points: Iterable[tuple[float, float]], kind: str, dash: str = "none") -> str:
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{way}" class="{kind}" stroke-dasharray="{dash}"/>'


def _shortened(text: str, most: int) -> str:
    """Give `text`, or its two ends when it is longer than `most`: names in a family differ at their ends."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"


# --- dumbbells


@dataclass(frozen=True, kw_only=True)
class _ErrorAxis:
    """The symmetric-log axis: linear below `threshold`, logarithmic beyond, 0 where 0 is."""

    threshold: float
    largest: float
    scale: _Scale

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
    scale = _Scale(low=low, high=high, start=layout.left + 8, end=layout.right - 8)
    return _ErrorAxis(threshold=threshold, largest=largest, scale=scale)


def _error_grid(axis: _ErrorAxis, layout: Layout, top: float, bottom: float) -> Iterator[str]:
    for error in axis.ticks():
        x = axis(error)
        yield _path([(x, top), (x, bottom)], "axis" if error == 0 else "grid")
        yield _text(x, bottom + 17, _error_tick(error), "mid quiet")
    label = f"relative error; linear within ±{_error_tick(axis.threshold)}, logarithmic beyond"
    yield _text((layout.left + layout.right) / 2, bottom + 36, label, "mid head")


def _error_tick(error: float) -> str:
    if error == 0:
        return "0"
    exponent = round(math.log10(abs(error))) + 2
    return f"{'−' if error < 0 else ''}{power_of_ten(1, exponent)} %"


def _dumbbell_legend(layout: Layout) -> Iterator[str]:
    yield _mark(22, 68, before=True)
    yield _text(34, 72, "survey weights", "")
    yield _mark(142, 68, before=False)
    yield _text(154, 72, "calibrated weights", "")
    for x, name in zip(layout.columns, ("survey", "calibrated"), strict=True):
        yield _text(x, 96, name, "end head")


def _mark(x: float, y: float, *, before: bool) -> str:
    kind = 'class="c1 hollow"' if before else 'class="c0"'
    return f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'


def _dumbbell(pair: Pair, axis: _ErrorAxis, layout: Layout, y: float) -> Iterator[str]:
    ends = pair.before, pair.after
    values = [percent(error, signed=True) for error in ends]
    yield f"<g><title>{_safe(f'{pair.label}: {values[0]} before, {values[1]} after')}</title>"
    yield _path([(layout.left, y), (layout.right, y)], "grid")
    if all(map(math.isfinite, ends)):
        yield _path([(axis(error), y) for error in ends], "bar")
    yield from (_mark(axis(e), y, before=i == 0) for i, e in enumerate(ends) if math.isfinite(e))
    yield _name(pair.label, layout, y - layout.rise)
    yield from (_text(x, y - layout.rise, v, "end") for x, v in zip(layout.columns, values, strict=True))
    yield "</g>"


def _name(label: str, layout: Layout, y: float) -> str:
    """Give the name in a window of its own: wide letters are cut, and never run into the picture."""
    window = f'<svg x="16" y="{y - 14:.1f}" width="{layout.name_width:.1f}" height="20">'
    return f"{window}{_text(0, 14, _shortened(label, layout.name_length), '')}</svg>"


def _dumbbell_description(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return "No targets."
    worst = pairs[0]
    before, after = (percent(error, signed=True) for error in (worst.before, worst.after))
    return (
        "Relative error of each target under the survey weights and under the calibrated weights, worst first. "
        f"At the top: {_shortened(worst.label, 120)}, {before} before and {after} after."
    )


# --- curves


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """The axes of a line chart: epochs to the right, log10 of the value up."""

    x: _Scale
    y: _Scale

    def draw(self, label: str) -> Iterator[str]:
        """Give grid, ticks and the name of the axis."""
        for place, name in _log_ticks(self.y.low, self.y.high):
            yield _path([(self.x.start, self.y(place)), (self.x.end, self.y(place))], "grid")
            yield _text(self.x.start - 8, self.y(place) + 4, name, "end quiet")
        yield _path([(self.x.start, self.y.start), (self.x.end, self.y.start)], "axis")
        for epoch in _epoch_ticks(self.x.low, self.x.high):
            yield _path([(self.x(epoch), self.y.start), (self.x(epoch), self.y.start + 4)], "axis")
            yield _text(self.x(epoch), self.y.start + 18, f"{epoch:,}", "mid quiet")
        yield _text((self.x.start + self.x.end) / 2, self.y.start + 36, label, "mid head")


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
        x=_Scale(low=first - beside, high=last + beside, start=62, end=_CHART_WIDTH - 34),
        y=_Scale(low=min(values) - above, high=max(values) + above, start=_CHART_HEIGHT - 50, end=78),
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
        name = _shortened(curve.name, int(((_CHART_WIDTH - 20) / len(curves) - sample) / letter))
        yield f'<g class="c{i % 4}">{_path([(x, 50), (x + 22, 50)], "curve", _DASHES[i % 4])}</g>'
        yield _text(x + 28, 54, name, "")
        x += sample + letter * len(name)


def _curve(index: int, runs: list[_Points], frame: _Frame) -> Iterator[str]:
    yield f'<g class="c{index % 4}">'
    for run in runs:
        places = [(frame.x(step), frame.y(value)) for step, value in run]
        yield _path(places, "curve", _DASHES[index % 4])
        if len(places) == 1:
            yield f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3"/>'
    yield "</g>"


def _line_description(curves: Sequence[Curve]) -> str:
    said = (f"{c.name} from {short_number(c.values[0])} to {short_number(c.values[-1])}" for c in curves if c.values)
    return f"Over the epochs: {'; '.join(said) or 'nothing was logged'}."
