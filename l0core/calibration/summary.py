"""The summary of a calibration as a person reads it: what it was before, what it is now."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from l0core.screen import left, percent, right, short, table

_ERRORS = {
    "mean abs. relative error": "mean_abs_relative_error",
    "median": "median_abs_relative_error",
    "largest": "max_abs_relative_error",
}
_WITHIN = {f"targets within {share} %": f"within_{share}_percent" for share in (1, 5, 10)}


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Give the summary as a table: a line a number, before and after."""
    return table([left("result"), right("before"), right("after")], _rows(summary))


def _rows(summary: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, key in _ERRORS.items():
        yield name, percent(summary[f"initial_{key}"]), percent(summary[key])
    for name, key in _WITHIN.items():
        yield name, *(f"{summary[each]} of {summary['n_targets']}" for each in (f"initial_{key}", key))
    yield "units", f"{summary['n_units']:,}", f"{summary['n_active']:,}"
    yield "sum of weights", short(summary["initial_weights_total"]), short(summary["weights_total"])
    yield "effective sample size", "", short(summary["effective_sample_size"])
    yield "loss", "", short(summary["loss"])
