"""Sampling problems that tests share."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from l0core.calibration.survey import read_survey
from l0core.context import RunContext
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.result import FeaturesResult, SampleResult
from l0core.sampling.run import run

EXAMPLE = Path(__file__).parents[3] / "examples" / "minnesota_2022"


def of_units(*, n_units: int = 200, n_columns: int = 5, seed: int = 0, **inputs: Any) -> SamplingProblem:
    """Give columns of several sorts over units of uneven weight; the last one is held out."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(1, 1, (n_units, n_columns))
    columns[:, 0] = rng.integers(0, 2, n_units)
    columns[:, -1] = columns[:, 0] + columns[:, 1] ** 2 + 0.3 * rng.normal(size=n_units)
    held_out = np.arange(n_columns) == n_columns - 1
    given = {"initial_weights": rng.uniform(1, 5, n_units), "holdout": held_out} | inputs
    return SamplingProblem.build(columns, **given)


def planted(
    seed: int, *, n_units: int, n_columns: int, n_true: int, signal: float = 1.0
) -> tuple[SamplingProblem, np.ndarray[Any, Any]]:
    """Give neighbouring columns that correlate by 0.7, and the few that make the outcome; noise is 1 / `signal`."""
    rng = np.random.default_rng(seed)
    fresh = rng.normal(size=(n_units, n_columns))
    columns = np.empty_like(fresh)
    columns[:, 0] = fresh[:, 0]
    for j in range(1, n_columns):
        columns[:, j] = 0.7 * columns[:, j - 1] + np.sqrt(1 - 0.7**2) * fresh[:, j]
    true = np.sort(rng.choice(n_columns, n_true, replace=False))
    told = columns[:, true] @ (rng.choice([-1, 1], n_true) * rng.uniform(0.5, 1.5, n_true))
    outcome = told + rng.normal(size=n_units) * told.std() / np.sqrt(signal)
    return SamplingProblem.build(columns, outcome=outcome), true


@cache
def minnesota() -> tuple[SamplingProblem, tuple[str, ...]]:
    """Give the example's tax units with the contributions to its 29 totals as columns, and each column's family."""
    survey = read_survey(EXAMPLE / "households.csv.gz", EXAMPLE / "targets_spec.csv")
    problem = SamplingProblem.build(survey.matrix().T, initial_weights=survey.weights(), column_names=survey.names)
    return problem, tuple(_family(name) for name in survey.names)


def _family(name: str) -> str:
    first = "eitc" if "eitc" in name else name.split(maxsplit=1)[0]
    return {"population": "people"}.get(first, first)


def sampled(problem: SamplingProblem, context: RunContext | None = None, **settings: Any) -> SampleResult:
    """Run a mode that chooses units."""
    result = run(problem, options(**settings), context or RunContext(seed=1))
    assert isinstance(result, SampleResult)
    return result


def explained(problem: SamplingProblem, context: RunContext | None = None, **settings: Any) -> FeaturesResult:
    """Run the mode that chooses columns."""
    result = run(problem, options(mode="features", **settings), context or RunContext(seed=1))
    assert isinstance(result, FeaturesResult)
    return result


def options(**settings: Any) -> SamplingHyperparameters:
    """Give hyperparameters with few epochs and no comparisons unless asked for."""
    quick = {} if settings.get("mode") == "features" else {"epochs": 60}
    return SamplingHyperparameters.model_validate({"comparisons": 0} | quick | settings)
