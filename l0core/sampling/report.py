"""The result of a sampling as one page of HTML; `calibration.markup` has the parts a page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from l0core import plots
from l0core.markup import first_of, number, page, section, table, text
from l0core.plots import Curve, counted, percent

if TYPE_CHECKING:
    from l0core.history import History
    from l0core.sampling.result import FeaturesResult, SampleResult

    Result: TypeAlias = SampleResult | FeaturesResult

_MOST_ROWS = 500  # that a browser shows without delay; `sampling_diagnostics.json` has all
_FILE = "sampling_diagnostics.json"
_NAMES = {"random": "Random draws", "stratified": "Stratified draws"}
_COLUMNS = ("Choice of units", "Error, all columns", "Columns in the fit", "Left-out columns", "Effective sample size")


def sample_html(result: SampleResult) -> str:
    """Give the page of a sample: headline, comparisons, columns, curves, findings, and what was run."""
    n, sample = result.summary, result.sample
    title = f"{n['n_active']:,} of {counted(n['n_units'], 'unit')} for the whole"
    tiles = (
        ("Mean abs. relative error", percent(n["representation"]["mean_abs_relative_error"]), "over all columns"),
        ("Left-out columns", _share(n["representation"]["holdout_mean_abs_relative_error"]), "mean error"),
        ("Effective sample size", number(n["effective_sample_size"]), f"of {n['n_active']:,}"),
        ("Drawn at random", number(int(sample.random.sum())), f"seed {result.identity.seed}"),
    )
    parts = (_compared(result), _columns(result), _curves(result.history), _findings(result), _run(result))
    return page(f"Sampling: {title}", _head(title, tiles) + "".join(parts))


def features_html(result: FeaturesResult) -> str:
    """Give the page of a choice of columns: headline, columns, curves, findings, and what was run."""
    n = result.summary
    title = f"{n['n_active']:,} of {counted(n['n_columns'], 'column')} for the outcome"
    tiles = (
        ("Loss", number(n["loss"]), f"{number(n['loss_without_columns'])} without columns"),
        ("Explained", percent(n["explained_share"]), "of the loss without columns"),
        ("Accuracy", _share(n["accuracy"]), "of a classification"),
        ("Random columns", number(n["random_columns_loss"]), "median loss"),
    )
    rows = [
        (row["name"], str(row["index"]), ", ".join(number(value) for value in row["coefficients"]))
        for row in _first(result.column_rows())
    ]
    name = first_of("In their order", len(rows), n["n_active"], _FILE)
    chosen = section("Columns", table(name, ["Column", "Index", "Coefficients"], rows))
    return page(
        f"Sampling: {title}",
        _head(title, tiles) + chosen + _curves(result.history) + _findings(result) + _run(result),
    )


def _head(title: str, tiles: Iterable[tuple[str, str, str]]) -> str:
    shown = "".join(f"<div><dt>{text(a)}</dt><dd>{text(b)}</dd><dd>{text(c)}</dd></div>" for a, b, c in tiles)
    return f'<header><p>Sampling report</p><h1>{text(title)}</h1></header><dl class="tiles">{shown}</dl>'


def _compared(result: SampleResult) -> str:
    sides = {"This sample": result.summary["representation"]}
    sides |= {f"{_NAMES[name]}, median": each for name, each in result.summary["comparisons"].items()}
    rows = [
        (
            name,
            percent(each["mean_abs_relative_error"]),
            percent(each["fit_mean_abs_relative_error"]),
            _share(each["holdout_mean_abs_relative_error"]),
            number(each["effective_sample_size"]),
        )
        for name, each in sides.items()
    ]
    return section("How well it stands for the whole", table("Reweighted by the same refit", _COLUMNS, rows))


def _columns(result: SampleResult) -> str:
    order = np.argsort(-np.abs(result.fit.relative_errors), kind="stable")[:_MOST_ROWS]
    all_rows = list(result.column_rows())
    rows = [
        (
            f"{row['name']} (left out)" if row["holdout"] else row["name"],
            number(row["value"]),
            number(row["estimate"]),
            percent(row["relative_error"], signed=True),
            number(row["initial_standard_deviation"]),
            number(row["standard_deviation"]),
        )
        for row in (all_rows[i] for i in order)
    ]
    columns = ["Column", "Total", "Of the sample", "Error", "Std. deviation", "Of the sample"]
    return section("Columns", table(first_of("Worst first", len(rows), len(all_rows), _FILE), columns, rows))


def _curves(history: History) -> str:
    charts = (("Loss", ("loss",)), ("Chosen", ("active", "expected_l0")))
    drawn = "".join(f"<figure>{_chart(history, title, names)}</figure>" for title, names in charts)
    return section("Selection, epoch by epoch", f'<div class="charts">{drawn}</div>')


def _chart(history: History, title: str, names: Sequence[str]) -> str:
    curves = [
        Curve(name=name, steps=history.steps, values=history.metrics[name]) for name in names if name in history.metrics
    ]
    return plots.line_chart(curves, title=title)


def _findings(result: Result) -> str:
    rows = [(f.severity, f.code, f.message) for f in result.all_findings[:_MOST_ROWS]]
    name = first_of("As they were found", len(rows), len(result.all_findings), _FILE)
    return section("Findings", table(name, ["Severity", "Code", "Finding"], rows, kind="prose")) if rows else ""


def _run(result: Result) -> str:
    identity = result.identity
    facts = [
        ("Problem (sha256)", identity.problem_sha256),
        *((name, f"{size:,}") for name, size in result.problem.sizes.items()),
        ("Seed", str(identity.seed)),
        ("Engine", identity.engine),
        *((name, str(value)) for name, value in identity.hyperparameters.items() if value is not None),
    ]
    return section("What was run", table("Enough to run it again", ["What", "Value"], facts, kind="prose"))


def _share(value: float | None) -> str:
    return number(None) if value is None else percent(value)


def _first(rows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for shown, row in enumerate(rows):
        if shown == _MOST_ROWS:
            return
        yield row
