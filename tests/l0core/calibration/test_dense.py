"""The dense optimum: as low as other solvers', a bound of every sparse fit, its prices the slopes of the loss."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from l0core.calibration import dense as module
from l0core.calibration.dense import dense_optimum, is_affordable
from l0core.calibration.objective import Objective, prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from tests.problems import conflicting, solved


def _objective(problem: CalibrationProblem, **settings: Any) -> Objective:
    return prepare(problem, CalibrationHyperparameters(**settings))


def test_it_is_the_least_loss_of_weights_that_are_not_negative() -> None:
    objective = _objective(conflicting())
    columns = objective.columns(np.arange(objective.n_candidates))
    other = lsq_linear(columns.toarray(), objective.goal, bounds=(0, np.inf), method="bvls", tol=1e-14)
    assert dense_optimum(objective).loss == pytest.approx(2 * other.cost, rel=1e-6)


def test_targets_that_can_be_met_cost_nothing_and_have_no_price() -> None:
    found = dense_optimum(_objective(solved().problem))
    assert found.loss < 1e-12
    assert found.prices.max() < 1e-6


@pytest.mark.parametrize("settings", [{"loss": "relative"}, {"loss": "absolute_relative"}])
def test_prices_are_the_slopes_of_the_optimum(settings: dict[str, Any]) -> None:
    problem = conflicting()
    problem = replace(problem, scales=problem.scale, target_weights=np.linspace(0.5, 2.0, problem.n_targets))
    prices = dense_optimum(_objective(problem, **settings)).prices
    for target in np.argsort(-prices)[:5]:
        losses = []
        for sign in (1, -1):
            moved = problem.targets.copy()
            moved[target] += sign * 1e-4 * problem.scale[target]
            losses.append(dense_optimum(_objective(replace(problem, targets=moved), **settings)).loss)
        assert prices[target] == pytest.approx(abs(losses[0] - losses[1]) / 2e-4, rel=0.1)


def test_bounds_of_the_ratio_raise_it() -> None:
    free = dense_optimum(_objective(conflicting())).loss
    bounded = dense_optimum(_objective(conflicting(), max_weight_ratio=0.5)).loss
    assert bounded > 2 * free


def test_what_would_take_too_long_is_said_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = _objective(solved().problem)
    assert is_affordable(objective) is None
    monkeypatch.setattr(module, "_MOST_PAIRS", 10)
    finding = is_affordable(objective)
    assert finding is not None
    assert (finding.code, finding.severity) == ("lower_bound_skipped", "info")
    entries = np.diff(objective.plain.tocsc().indptr)
    assert finding.value == entries @ entries
