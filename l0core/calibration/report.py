"""The result of a calibration as one page of HTML, and its picture before and after as one SVG.

Self-contained: style inside, no script, nothing loaded. Every text from outside is escaped in one place, `_text`.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l0core import plots
from l0core.arrays import FloatArray
from l0core.calibration.concentration import effective_sample_size
from l0core.plots import Curve, Layout, Pair, counted, percent

if TYPE_CHECKING:
    from l0core.calibration.result import CalibrationResult


MOST_TARGETS = 500  # rows a browser shows without delay; `unified_diagnostics.csv` has all
_MOST_FINDINGS = 100
_SEVERITIES = ("error", "warning", "info")
_LEVELS_PERCENT = (1, 5, 10)
_UNKNOWN = "–"
_CHARTS = {  # title: the metrics drawn, with their names in the legend
    "Loss": {"loss": "loss", "data_loss": "data loss"},
    "Absolute relative error, %": {
        "max_abs_relative_error": "largest",
        "mean_abs_relative_error": "mean",
        "median_abs_relative_error": "median",
    },
    "Units": {"active": "open gates", "expected_l0": "expected count"},
}


def report_html(result: CalibrationResult) -> str:
    """Give the page: headline, picture, fit, weights, curves, targets, findings, and what was run."""
    parts = (_headline, _picture, _fit, _curves, _targets, _findings, _run)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Calibration: {_text(_title(result))}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(part(result) for part in parts)}</main></body></html>\n"
    )


def before_after_svg(result: CalibrationResult, *, layout: Layout = plots.WIDE) -> str:
    """Give the relative errors of the targets under the survey weights and under the calibrated ones, as one SVG."""
    n = result.summary
    note = f"{n['n_active']:,} of {counted(n['n_units'], 'unit')} kept"
    return plots.dumbbell_chart(_pairs(result), title="Relative error of each target", note=note, layout=layout)


# --- the sections


def _title(result: CalibrationResult) -> str:
    numbers = result.summary
    units = f"{numbers['n_active']:,} of {counted(numbers['n_units'], 'unit')}"
    return f"{counted(result.problem.n_targets, 'target')} with {units}"


def _headline(result: CalibrationResult) -> str:
    n = result.summary
    before, after = _abs_errors(result, ~result.problem.holdout)
    kept = percent(n["n_active"] / n["n_units"])
    tiles = (
        ("Mean abs. relative error", percent(float(after.mean())), f"{percent(float(before.mean()))} before"),
        ("Median abs. relative error", percent(float(np.median(after))), f"{percent(float(np.median(before)))} before"),
        ("Largest abs. relative error", percent(float(after.max())), f"{percent(float(before.max()))} before"),
        ("Targets within 1 %", _within(after, 0.01), f"{_within(before, 0.01)} before"),
        ("Units kept", _number(n["n_active"]), f"of {n['n_units']:,} ({kept})"),
        ("Effective sample size", _number(n["effective_sample_size"]), f"design effect {_number(n['design_effect'])}"),
        ("Largest g-weight", _number(n["max_g_weight"]), "calibrated over survey weight"),
        ("Epochs", _number(n["epochs"]), f"seed {result.identity.seed}"),
    )
    shown = "".join(f"<div><dt>{_text(a)}</dt><dd>{_text(b)}</dd><dd>{_text(c)}</dd></div>" for a, b, c in tiles)
    return f'<header><p>Calibration report</p><h1>{_text(_title(result))}</h1></header><dl class="tiles">{shown}</dl>'


def _picture(result: CalibrationResult) -> str:
    wide, narrow = (before_after_svg(result, layout=layout) for layout in (plots.WIDE, plots.NARROW))
    figure = f'<figure><div class="wide">{wide}</div><div class="narrow">{narrow}</div></figure>'
    return _section("Before and after", figure)


def _fit(result: CalibrationResult) -> str:
    held_out = result.problem.holdout
    tables = [_errors("Targets in the fit", result, ~held_out)]
    if held_out.any():
        tables.append(_errors("Held-out targets", result, held_out))
    return _section("Fit and weights", f'<div class="beside">{"".join(tables)}{_weights(result)}</div>')


def _errors(name: str, result: CalibrationResult, which: NDArray[np.bool_]) -> str:
    both, tolerances = _abs_errors(result, which), result.problem.tolerances
    rows = [
        ("Mean", *(percent(float(errors.mean())) for errors in both)),
        ("Median", *(percent(float(np.median(errors))) for errors in both)),
        ("Largest", *(percent(float(errors.max())) for errors in both)),
        *((f"Within {level} %", *(_within(errors, level / 100) for errors in both)) for level in _LEVELS_PERCENT),
    ]
    if tolerances is not None:
        rows.append(("Within tolerance", *(_within(errors, tolerances[which]) for errors in both)))
    return _table(name, ["Abs. relative error", "Survey", "Calibrated"], rows)


def _weights(result: CalibrationResult) -> str:
    n, design = result.summary, result.problem.design_weights
    rows = [
        ("Units above 0", int((design > 0).sum()), n["n_active"]),
        ("Effective sample size", effective_sample_size(design), n["effective_sample_size"]),
        ("Sum", n["initial_weights_total"], n["weights_total"]),
        ("Largest", float(design.max()), n["max_weight"]),
        ("Largest g-weight", None, n["max_g_weight"]),
        ("Design effect", None, n["design_effect"]),
    ]
    cells = [(name, _number(before), _number(after)) for name, before, after in rows]
    return _table("Weights", ["Weights", "Survey", "Calibrated"], cells)


def _curves(result: CalibrationResult) -> str:
    drawn = "".join(f"<figure>{_chart(result, title, names)}</figure>" for title, names in _CHARTS.items())
    return _section(
        "Selection, epoch by epoch", f'<p>{_text(_refit_note(result))}</p><div class="charts">{drawn}</div>'
    )


def _chart(result: CalibrationResult, title: str, names: dict[str, str]) -> str:
    held = result.history
    factor = 100 if title.endswith("%") else 1
    curves = [
        Curve(name=name, steps=held.steps, values=[factor * value for value in held.metrics[metric]])
        for metric, name in names.items()
        if metric in held.metrics
    ]
    return plots.line_chart(curves, title=title)


def _refit_note(result: CalibrationResult) -> str:
    if not result.options.refit:
        return f"The weights are those of the last epoch; their loss is {_number(result.loss)}."
    return (
        "The curves end where the gates have chosen the units. The refit then fits the weights of those units: "
        f"the loss goes from {_number(result.selection_loss)} to {_number(result.loss)}."
    )


def _targets(result: CalibrationResult) -> str:
    fit, problem, pairs = result.fit, result.problem, _pairs(result)
    order = np.lexsort((-np.abs(fit.initial_relative_errors), -np.abs(fit.relative_errors)))[:MOST_TARGETS]
    columns = ["Target", "Value", "Survey estimate", "Calibrated estimate", "Error before", "Error after"]
    rows = [
        (
            pairs[i].label,
            *(_number(float(column[i])) for column in (problem.targets, fit.initial_estimates, fit.estimates)),
            percent(pairs[i].before, signed=True),
            percent(pairs[i].after, signed=True),
        )
        for i in order
    ]
    name = _first("Worst first", len(rows), problem.n_targets, "unified_diagnostics.csv")
    return _section("Targets", _table(name, columns, rows))


def _findings(result: CalibrationResult) -> str:
    found = sorted(result.problem.findings, key=lambda finding: _SEVERITIES.index(finding.severity))
    if not found:
        return ""
    rows = [(f.severity, f.code, f.message) for f in found[:_MOST_FINDINGS]]
    name = _first("Most severe first", len(rows), len(found), "calibration_diagnostics.json")
    return _section("Findings", _table(name, ["Severity", "Code", "Finding"], rows, kind="prose"))


def _run(result: CalibrationResult) -> str:
    identity, sizes = result.identity, result.problem.sizes
    size = ", ".join(counted(sizes[f"n_{noun}s"], noun) for noun in ("target", "unit"))
    facts = [
        ("Problem (sha256)", identity.problem_sha256),
        ("Size", f"{size}, {counted(sizes['nnz'], 'nonzero')}"),
        ("Seed", str(identity.seed)),
        ("Engine", identity.engine),
    ]
    about = _table("Problem and engine", ["What", "Value"], facts, kind="prose")
    settings = _table("Hyperparameters", ["Name", "Value", "Default"], _settings(result), kind="prose")
    return _section("What was run", f"<p>Enough to run it again, bit for bit on the CPU.</p>{about}{settings}")


def _settings(result: CalibrationResult) -> list[tuple[str, str, str]]:
    """Give (name, value, default), those that were set first."""
    fields = type(result.options).model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    given = result.identity.hyperparameters
    names = sorted(given, key=lambda name: given[name] == defaults.get(name))
    return [(name, _setting(given[name]), _setting(defaults.get(name))) for name in names]


# --- numbers and markup


def _pairs(result: CalibrationResult) -> list[Pair]:
    fit, problem = result.fit, result.problem
    columns = (problem.names, fit.initial_relative_errors.tolist(), fit.relative_errors.tolist(), problem.holdout)
    return [
        Pair(name=name, before=before, after=after, held_out=bool(held_out))
        for name, before, after, held_out in zip(*columns, strict=True)
    ]


def _abs_errors(result: CalibrationResult, which: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Give the absolute relative errors of these targets, before and after."""
    return np.abs(result.fit.initial_relative_errors[which]), np.abs(result.fit.relative_errors[which])


def _within(errors: FloatArray, limit: float | FloatArray) -> str:
    return f"{int((errors <= limit).sum()):,} of {errors.size:,}"


def _first(order: str, shown: int, of: int, file: str) -> str:
    """Give the name of a table that may be cut, saying where the rest is."""
    return order if shown == of else f"{order}: {shown:,} of {of:,}; all are in {file}"


def _number(value: float | None) -> str:
    """Give a number with four significant digits, all digits of its whole part, and no idle zeros."""
    if value is None or not math.isfinite(value):
        return _UNKNOWN
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e15:
        return plots.short_number(value)
    decimals = 3 - math.floor(math.log10(abs(value)))
    text = f"{value:,.{max(0, decimals)}f}".replace("-", "−")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _setting(value: Any) -> str:
    if value is None or value == {}:
        return _UNKNOWN
    return value if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    return html.escape(value)


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{_text(heading)}</h2>{content}</section>"


def _table(name: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "numbers") -> str:
    """Give a table that scrolls by itself; the first cell of a row is its heading."""
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in columns)
    body = "".join(_row(row) for row in rows)
    return (
        f'<div class="scroll" role="region" aria-label="{_text(name)}" tabindex="0"><table class="{kind}">'
        f"<caption>{_text(name)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    values = "".join(f"<td>{_text(cell)}</td>" for cell in others)
    return f'<tr><th scope="row"><bdi>{_text(first)}</bdi></th>{values}</tr>'


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
