"""The parts of every picture: colours, escaped text, paths, a straight scale, the document around them.

The colours are those of Okabe and Ito, which colour-blind readers tell apart; marks differ in shape or dash as well.
"""

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


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
class Scale:
    """The straight map of [low, high] onto the pixels [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Give the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def document(width: int, height: int, title: str, description: str, parts: Iterable[str]) -> str:
    """Give the whole SVG: title and description for readers who listen, style, background, parts."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><title>{safe(title)}</title><desc>{safe(description)}</desc>'
        f'<style>{_STYLE}</style><rect class="paper" width="{width}" height="{height}" rx="10"/>{"".join(parts)}</svg>'
    )


def heading(title: str, note: str) -> Iterator[str]:
    """Give the title and, where there is one, the note below it."""
    yield text(16, 28, title, "title")
    if note:
        yield text(16, 48, note, "quiet")


def safe(text: str) -> str:
    """Give `text` escaped for XML; what has no shape of its own, or steers others, becomes a replacement sign."""
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in text))


def text(x: float, y: float, content: str, kind: str) -> str:
    """Give escaped text that starts (or, by its `kind`, ends or is centred) at x, y."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{safe(content)}</text>'


def path(points: Iterable[tuple[float, float]], kind: str, dash: str = "none") -> str:
    """Give a line through the points."""
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{way}" class="{kind}" stroke-dasharray="{dash}"/>'


def shortened(text: str, most: int) -> str:
    """Give `text`, or its two ends when it is longer than `most`: names in a family differ at their ends."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"
