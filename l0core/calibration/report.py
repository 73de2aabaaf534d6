"""The result of a calibration as one page of HTML, and its picture before and after as one SVG.

`markup` has the parts a page is made of.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l0core import plots
from l0core.arrays import FloatArray
from l0core.calibration.concentration import design_effect, effective_sample_size, top_share
from l0core.calibration.loss_report import composition, dearest, loss_table
from l0core.markup import UNKNOWN, first_of, number, page, section, table, text
from l0core.plots import Curve, Layout, Pair, counted, percent

if TYPE_CHECKING:
    from l0core.calibration.result import CalibrationResult


MOST_TARGETS = 500  # rows a browser shows without delay; `unified_diagnostics.csv` has all
_MOST_FINDINGS = 100
_SEVERITIES = ("error", "warning", "info")
_LEVELS_PERCENT = (1, 5, 10)
_SHOWN = (("p5", "5 %"), ("p50", "median"), ("p95", "95 %"), ("max", "largest"))  # of the quantiles
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
    """Give the page: headline, picture, fit, weights, loss, prices, curves, targets, findings, and what was run."""
    parts = (_headline, _picture, _fit, composition, dearest, _findings, _curves, _targets, _run)
    return page(f"Calibration: {_title(result)}", "".join(part(result) for part in parts))


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
        ("Units kept", number(n["n_active"]), f"of {n['n_units']:,} ({kept})"),
        ("Effective sample size", number(n["effective_sample_size"]), f"design effect {number(n['design_effect'])}"),
        ("Largest g-weight", number(n["max_g_weight"]), "calibrated over survey weight"),
        ("Epochs", number(n["epochs"]), f"seed {result.identity.seed}"),
    )
    shown = "".join(f"<div><dt>{text(a)}</dt><dd>{text(b)}</dd><dd>{text(c)}</dd></div>" for a, b, c in tiles)
    return f'<header><p>Calibration report</p><h1>{text(_title(result))}</h1></header><dl class="tiles">{shown}</dl>'


def _picture(result: CalibrationResult) -> str:
    wide, narrow = (before_after_svg(result, layout=layout) for layout in (plots.WIDE, plots.NARROW))
    figure = f'<figure><div class="wide">{wide}</div><div class="narrow">{narrow}</div></figure>'
    return section("Before and after", figure)


def _fit(result: CalibrationResult) -> str:
    held_out = result.problem.holdout
    tables = [_errors("Targets in the fit", result, ~held_out)]
    if held_out.any():
        tables.append(_errors("Held-out targets", result, held_out))
    return section(
        "Fit and weights", f'<div class="beside">{"".join(tables)}{_weights(result)}{loss_table(result)}</div>'
    )


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
    return table(name, ["Abs. relative error", "Survey", "Calibrated"], rows)


def _weights(result: CalibrationResult) -> str:
    n, design = result.summary, result.problem.design_weights
    rows = [
        ("Units above 0", int((design > 0).sum()), n["n_active"]),
        ("Effective sample size", effective_sample_size(design), n["effective_sample_size"]),
        ("Sum", n["initial_weights_total"], n["weights_total"]),
        ("Largest", float(design.max()), n["max_weight"]),
        ("Design effect", design_effect(design), n["design_effect"]),
        ("Heaviest 1 %, share in %", _in_percent(top_share(design)), _in_percent(n["top_1_percent_share"])),
        *(
            (f"G-weight, {name}", None, n["g_weight_quantiles"] and n["g_weight_quantiles"][key])
            for key, name in _SHOWN
        ),
    ]
    cells = [(name, number(before), number(after)) for name, before, after in rows]
    return table("Weights", ["Weights", "Survey", "Calibrated"], cells)


def _in_percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _curves(result: CalibrationResult) -> str:
    drawn = "".join(f"<figure>{_chart(result, title, names)}</figure>" for title, names in _CHARTS.items())
    return section("Selection, epoch by epoch", f'<p>{text(_refit_note(result))}</p><div class="charts">{drawn}</div>')


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
        return f"The weights are those of the last epoch; their loss is {number(result.loss)}."
    return (
        "The curves end where the gates have chosen the units. The refit then fits the weights of those units: "
        f"the loss goes from {number(result.selection_loss)} to {number(result.loss)}."
    )


def _targets(result: CalibrationResult) -> str:
    fit, problem, pairs = result.fit, result.problem, _pairs(result)
    order = np.lexsort((-np.abs(fit.initial_relative_errors), -np.abs(fit.relative_errors)))[:MOST_TARGETS]
    columns = ["Target", "Value", "Survey estimate", "Calibrated estimate", "Error before", "Error after"]
    rows = [
        (
            pairs[i].label,
            *(number(float(column[i])) for column in (problem.targets, fit.initial_estimates, fit.estimates)),
            percent(pairs[i].before, signed=True),
            percent(pairs[i].after, signed=True),
        )
        for i in order
    ]
    name = first_of("Worst first", len(rows), problem.n_targets, "unified_diagnostics.csv")
    return section("Targets", table(name, columns, rows))


def _findings(result: CalibrationResult) -> str:
    found = sorted(result.all_findings, key=lambda finding: _SEVERITIES.index(finding.severity))
    if not found:
        return ""
    rows = [(f.severity, f.code, f.message) for f in found[:_MOST_FINDINGS]]
    name = first_of("Most severe first", len(rows), len(found), "calibration_diagnostics.json")
    return section("Findings", table(name, ["Severity", "Code", "Finding"], rows, kind="prose"))


def _run(result: CalibrationResult) -> str:
    identity, sizes = result.identity, result.problem.sizes
    size = ", ".join(counted(sizes[f"n_{noun}s"], noun) for noun in ("target", "unit"))
    facts = [
        ("Problem (sha256)", identity.problem_sha256),
        ("Size", f"{size}, {counted(sizes['nnz'], 'nonzero')}"),
        ("Seed", str(identity.seed)),
        ("Engine", identity.engine),
    ]
    about = table("Problem and engine", ["What", "Value"], facts, kind="prose")
    settings = table("Hyperparameters", ["Name", "Value", "Default"], _settings(result), kind="prose")
    return section("What was run", f"<p>Enough to run it again, bit for bit on the CPU.</p>{about}{settings}")


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


def _setting(value: Any) -> str:
    if value is None or value == {}:
        return UNKNOWN
    return value if isinstance(value, str) else json.dumps(value)
