"""What is wrong or doubtful with a sampling problem: found in a few passes over the nonzeros, before any job runs.

The totals of the columns are targets, so that a calibration's structural findings hold for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from l0core.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from l0core.sampling.problem import SamplingProblem

_OTHERWISE = ("empty_columns", "zero_design_weights")  # a unit with nothing in it still counts as one here


def structural_findings(problem: SamplingProblem) -> list[Finding]:
    """Give every structural finding of `problem`, the same each time."""
    return [*_of_the_totals(problem), *_zero_design_weights(problem), *_constant_columns(problem)]


def _of_the_totals(problem: SamplingProblem) -> Iterator[Finding]:
    yield from (finding for finding in problem.totals.findings if finding.code not in _OTHERWISE)


def _zero_design_weights(problem: SamplingProblem) -> Iterator[Finding]:
    zeros = int((problem.design_weights == 0).sum())
    if zeros:
        text = f"{zeros} of {problem.n_units} units have design weight 0; they are never chosen"
        yield Finding(code="zero_design_weights", severity="info", message=text, value=float(zeros))


def _constant_columns(problem: SamplingProblem) -> Iterator[Finding]:
    """Name columns in which all units are alike: nothing tells one unit from another there."""
    columns, n = problem.features.tocsc(), problem.n_units
    for i in range(problem.n_columns):
        held = columns.data[columns.indptr[i] : columns.indptr[i + 1]]
        if not held.size or (held.size == n and (held == held[0]).all()):
            value = float(held[0]) if held.size else 0.0
            yield Finding(
                code="constant_column",
                severity="info",
                target=problem.names[i],
                index=i,
                message=f"column '{problem.names[i]}' is {value:g} for every unit: it tells none from another",
                value=value,
            )
