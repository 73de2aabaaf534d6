"""The parts of a page of HTML: numbers and texts as a reader sees them, tables, sections, and one style.

Self-contained: style inside, no script, nothing loaded. Every text from outside is escaped in one place, `text`.
"""

import html
import math
from collections.abc import Iterable, Sequence

from l0core import plots

UNKNOWN = "–"


def page(title: str, content: str) -> str:
    """Give the whole page."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head><body><main>{content}</main></body></html>\n"
    )


def first_of(order: str, shown: int, of: int, file: str) -> str:
    """Give the name of a table that may be cut, saying where the rest is."""
    return order if shown == of else f"{order}: {shown:,} of {of:,}; all are in {file}"


def number(value: float | None) -> str:
    """Give a number with four significant digits, all digits of its whole part, and no idle zeros.

    >>> number(1234567.8), number(-0.52), number(1 / 3), number(None)
    ('1,234,568', '−0.52', '0.3333', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e15:
        return plots.short_number(value)
    decimals = 3 - math.floor(math.log10(abs(value)))
    written = f"{value:,.{max(0, decimals)}f}".replace("-", "−")
    return written.rstrip("0").rstrip(".") if "." in written else written


def text(value: str) -> str:
    """Give text that is never markup."""
    return html.escape(value)


def section(heading: str, content: str) -> str:
    """Give a section; `content` is markup."""
    return f"<section><h2>{text(heading)}</h2>{content}</section>"


def table(name: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "numbers") -> str:
    """Give a table that scrolls by itself; the first cell of a row is its heading."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join(_row(row) for row in rows)
    return (
        f'<div class="scroll" role="region" aria-label="{text(name)}" tabindex="0"><table class="{kind}">'
        f"<caption>{text(name)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    values = "".join(f"<td>{text(cell)}</td>" for cell in others)
    return f'<tr><th scope="row"><bdi>{text(first)}</bdi></th>{values}</tr>'


def _colours(theme: plots.Theme, ground: str, edge: str) -> str:
    return (
        f":root{{--paper:{theme.paper};--ink:{theme.ink};--accent:{theme.series[0]};--ground:{ground};--edge:{edge}}}"
    )


_STYLE = (
    _colours(plots.LIGHT, "#f4f6f9", "#dce1e9")
    + f"@media (prefers-color-scheme:dark){{{_colours(plots.DARK, '#0e1218', '#2b323d')}}}"
    + """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}
header p{margin:0;color:var(--accent);font-weight:600}
h1{margin:4px 0 24px;font-size:clamp(22px,4vw,32px);line-height:1.2}
h2{margin:40px 0 12px;font-size:19px}
p{margin:0 0 12px;max-width:75ch}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin:0}
.tiles div,figure,.scroll{background:var(--paper);border:1px solid var(--edge);border-radius:10px}
.tiles div{padding:14px 16px}
dt,.tiles dd+dd{font-size:13px;opacity:.75}
dd{margin:0}
dt+dd{font-size:25px;font-weight:650;line-height:1.35;font-variant-numeric:tabular-nums}
figure{margin:0;overflow:hidden}
.plot{display:block;margin:0 auto;max-width:100%;height:auto}
.wide{padding:8px 16px}
.narrow{display:none}
.beside,.charts{display:grid;align-items:start;grid-template-columns:repeat(auto-fit,minmax(min(100%,310px),1fr));gap:12px}
.charts .plot,.wide .plot,.narrow .plot{width:100%}
.scroll{overflow:auto;max-height:75vh;margin-bottom:12px}
caption{padding:10px 14px 4px;text-align:left;font-weight:600;color:var(--accent)}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:7px 14px;border-bottom:1px solid var(--edge);text-align:left;white-space:nowrap}
thead th{position:sticky;top:0;background:var(--paper);font-size:13px}
tbody th{font-weight:500;white-space:normal;min-width:130px;max-width:420px;overflow-wrap:anywhere}
tbody tr:last-child>*{border-bottom:0}
.numbers th+th,.numbers td{text-align:right}
.beside th,.beside td{padding:7px 10px}.beside caption{padding:10px 10px 4px}
.prose td{white-space:normal;overflow-wrap:anywhere}
@media (max-width:640px){main{padding:20px 12px 48px}.wide{display:none}.narrow{display:block}
  .tiles{grid-template-columns:1fr 1fr}.tiles div{padding:10px 12px}dt+dd{font-size:20px}th,td{padding:6px 10px}
  tbody th{min-width:120px}}
@media print{.scroll{max-height:none;overflow:visible}body{background:none}}
"""
)
