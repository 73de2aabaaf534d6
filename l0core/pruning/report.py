"""The result of a pruning as one page of HTML. `markup` has the parts a page is made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from l0core import plots
from l0core.markup import number, page, section, table, text
from l0core.plots import Curve, counted, percent

if TYPE_CHECKING:
    from l0core.pruning.result import PruningResult

_NETWORKS = {"dense": "dense twin", "gated": "with gates", "compact": "compact"}
_CHARTS = {  # title: the metrics drawn, with their names in the legend
    "Loss of the training rows": {"loss": "with gates, then chosen", "dense_loss": "dense twin"},
    "Loss of the held-out rows": {"holdout_loss": "with gates, then chosen", "dense_holdout_loss": "dense twin"},
    "Parameters": {"parameters": "expected, then chosen"},
}


def report_html(result: PruningResult) -> str:
    """Give the page: headline, networks, layers, curves, findings, and what was run."""
    parts = (_headline, _networks, _layers, _curves, _findings, _run)
    return page(f"Pruning: {_title(result)}", "".join(part(result) for part in parts))


def _title(result: PruningResult) -> str:
    return f"{result.kept:,} of {counted(result.dense.plan.parameters, 'parameter')}"


def _headline(result: PruningResult) -> str:
    n = result.summary
    dense, compact = (n["latency_microseconds"][name] for name in ("dense", "compact"))
    right, name = _right(result)
    tiles = (
        ("Parameters kept", number(result.kept), f"of {result.dense.plan.parameters:,} ({percent(1 - n['sparsity'])})"),
        (f"{name}, compact", _share(right["compact"]), f"{_share(right['dense'])} dense"),
        (
            "Weights stored",
            f"{number(result.compact.bytes / 1024)} KiB",
            f"{number(result.dense.bytes / 1024)} KiB dense",
        ),
        (
            f"Microseconds, {counted(n['latency_rows'], 'row')}",
            number(compact["all_rows"]),
            f"{number(dense['all_rows'])} dense",
        ),
        ("Microseconds, 1 row", number(compact["one_row"]), f"{number(dense['one_row'])} dense"),
        ("Epochs", number(n["epochs"]), f"seed {result.identity.seed}"),
    )
    shown = "".join(f"<div><dt>{text(a)}</dt><dd>{text(b)}</dd><dd>{text(c)}</dd></div>" for a, b, c in tiles)
    return f'<header><p>Pruning report</p><h1>{text(_title(result))}</h1></header><dl class="tiles">{shown}</dl>'


def _right(result: PruningResult) -> tuple[dict[str, float | None], str]:
    """Give accuracy or R^2 by network, on the rows held out where there are any, and its name."""
    name = "accuracy" if result.problem.task == "classification" else "r2"
    part = "holdout" if result.problem.n_holdout else "training"
    return {key: each[part] for key, each in result.summary[name].items()}, "Accuracy" if name == "accuracy" else "R²"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _networks(result: PruningResult) -> str:
    n = result.summary
    measures = {key: n[key] for key in ("loss", "accuracy", "r2", "rmse") if key in n}
    columns = ["network", *(f"{key}, {part}" for key in measures for part in ("training", "holdout"))]
    rows = [
        (title, *(number(of[name][part]) for of in measures.values() for part in ("training", "holdout")))
        for name, title in _NETWORKS.items()
    ]
    said = f"{counted(n['n_rows'] - n['n_holdout'], 'row')} were learned from, {n['n_holdout']:,} held out."
    return section("Networks", f"<p>{text(said)}</p>{table('How well each does', columns, rows)}")


def _layers(result: PruningResult) -> str:
    rows = [(f"{u['layer']}: {u['type']}", f"{u['before']:,}", f"{u['after']:,}") for u in result.units()]
    return section("Layers", table("Units of each layer", ["layer", "before", "after"], rows))


def _curves(result: PruningResult) -> str:
    history = result.history
    charts = [
        plots.line_chart(
            [
                Curve(name=shown, steps=history.steps, values=history.metrics[name])
                for name, shown in named.items()
                if name in history.metrics
            ],
            title=title,
        )
        for title, named in _CHARTS.items()
        if any(name in history.metrics for name in named)
    ]
    return section("Curves", f'<div class="charts">{"".join(f"<figure>{chart}</figure>" for chart in charts)}</div>')


def _findings(result: PruningResult) -> str:
    found = result.problem.findings
    if not found:
        return ""
    rows = [(finding.code, finding.severity, finding.message) for finding in found]
    return section("Findings", table("Of the problem", ["code", "severity", "meaning"], rows, kind="prose"))


def _run(result: PruningResult) -> str:
    identity = result.identity
    rows = [
        ("problem", identity.problem_sha256),
        ("seed", str(identity.seed)),
        ("engine", identity.engine),
        *((name, json.dumps(value)) for name, value in identity.hyperparameters.items()),
    ]
    return section("Run", table("What was run", ["setting", "value"], rows, kind="prose"))
