"""The summary of a result as a person reads it: what it was before, what it is now."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from l0core.screen import left, pairs, percent, right, short, table

_ERRORS = {
    "mean abs. relative error": "mean_abs_relative_error",
    "median": "median_abs_relative_error",
    "largest": "max_abs_relative_error",
}
_WITHIN = {f"targets within {share} %": f"within_{share}_percent" for share in (1, 5, 10)}


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Give the summary of a job's result as a table; of a kind that is not known here, every number of it."""
    if "initial_mean_abs_relative_error" not in summary:
        return pairs((name, short(value)) for name, value in summary.items() if _is_number(value))
    return table([left("result"), right("before"), right("after")], _of_a_calibration(summary))


def _of_a_calibration(summary: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, key in _ERRORS.items():
        yield name, percent(summary[f"initial_{key}"]), percent(summary[key])
    for name, key in _WITHIN.items():
        yield name, *(f"{summary[each]} of {summary['n_targets']}" for each in (f"initial_{key}", key))
    yield "units", f"{summary['n_units']:,}", f"{summary['n_active']:,}"
    yield "sum of weights", short(summary["initial_weights_total"]), short(summary["weights_total"])
    yield "effective sample size", "", short(summary["effective_sample_size"])
    yield "loss", "", short(summary["loss"])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
