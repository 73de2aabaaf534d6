"""Selectors and what a run finds before them: exact counts, protected units, mass, findings, classical calibration."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from l0core.calibration import dense
from l0core.calibration.classical import calibrate_weights
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import EpochReport, FindingReport, Report, RunContext, StageReport, Stopped
from l0core.errors import InfeasibleBudget, InvalidHyperparameter
from tests.problems import conflicting, solved


def _run(problem: CalibrationProblem, **settings: Any) -> CalibrationResult:
    result = run(problem, CalibrationHyperparameters(**settings), RunContext(seed=3))
    assert isinstance(result, CalibrationResult)
    return result


def _reports(problem: CalibrationProblem, **settings: Any) -> list[Report]:
    told: list[Report] = []
    run(problem, CalibrationHyperparameters(**settings), RunContext(seed=3, report=told.append))
    return told


@pytest.mark.parametrize("selector", ["gates", "matching_pursuit"])
@pytest.mark.parametrize("mass", ["free", "conserve"])
@pytest.mark.parametrize("budget", [4, 9, 30])
def test_a_budget_protected_units_caps_and_mass_hold_together(selector: str, mass: str, budget: int) -> None:
    problem = replace(solved(n_targets=6).problem, protected_units=np.array([2, 41]))
    result = _run(problem, selector=selector, mass=mass, record_budget=budget, max_weight_ratio=40.0)
    weights, design = result.weights, problem.design_weights
    assert np.count_nonzero(weights) == budget
    assert (weights[[2, 41]] > 0).all()
    assert (weights <= 40.0 * design * (1 + 1e-12)).all()
    if mass == "conserve":
        assert weights.sum() == pytest.approx(design.sum(), rel=1e-9)


def test_protected_units_stay_without_a_budget_too() -> None:
    problem = replace(solved().problem, protected_units=np.array([0, 5]))
    result = _run(problem, lambda_l0=1e3, epochs=300, learning_rate=0.3, init_keep_prob=0.9)
    assert np.flatnonzero(result.weights).tolist() == [0, 5]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"record_budget": 61}, "only 60 units"),
        ({"record_budget": 2}, "3 units are protected"),
        ({"record_budget": 5, "max_weight_ratio": 1.5, "mass": "conserve"}, "5 units within their bounds sum to"),
    ],
)
def test_what_cannot_be_met_together_is_refused_with_the_numbers(settings: dict[str, Any], sentence: str) -> None:
    problem = replace(solved().problem, protected_units=np.array([0, 1, 2]))
    with pytest.raises(InfeasibleBudget, match=sentence):
        _run(problem, **settings)


def test_fewer_units_than_targets_are_pursued_and_more_are_gated() -> None:
    few = _reports(solved(n_targets=12).problem, record_budget=5)
    many = _reports(solved(n_targets=12).problem, record_budget=20, epochs=40)
    codes = [[report.code for report in told if isinstance(report, FindingReport)] for told in (few, many)]
    assert codes == [["selector_chosen"], []]
    assert [report.epochs for report in many if isinstance(report, EpochReport)][-1] == 40
    assert [report.epochs for report in few if isinstance(report, EpochReport)][-1] == 5


def test_a_setting_of_the_gates_is_not_ignored_but_asks_for_gates() -> None:
    told = _reports(solved(n_targets=12).problem, record_budget=5, epochs=40)
    assert [report for report in told if isinstance(report, FindingReport)] == []
    assert [report.epochs for report in told if isinstance(report, EpochReport)][-1] == 40


def test_a_pursuit_of_few_units_is_nearer_than_gates() -> None:
    problem = solved(n_targets=20, n_units=200).problem
    pursued, gated = (_run(problem, record_budget=10, selector=name) for name in ("auto", "gates"))
    assert pursued.loss <= gated.loss


def test_what_no_weights_can_do_is_told_before_the_selection() -> None:
    problem = CalibrationProblem.build(
        np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 5.0, 3.0, 4.0], [1.0, 0.0, 0.0, 1.0]]),
        [10.0, 90.0, 4.0],
        target_names=["people", "dollars", "others"],
    )
    told = _reports(problem)
    places = [
        i for i, report in enumerate(told) if isinstance(report, FindingReport) and report.code == "ratio_conflict"
    ]
    selecting = next(i for i, r in enumerate(told) if isinstance(r, StageReport) and r.stage == "selecting")
    assert places
    assert max(places) < selecting
    result = _run(problem)
    assert "ratio_conflict" in {finding.code for finding in result.findings}


def test_a_set_of_targets_in_conflict_is_named_and_none_where_all_can_be_met() -> None:
    assert "infeasible_set" in {finding.code for finding in _run(conflicting()).findings}
    assert _run(solved().problem).findings == ()


def test_a_cap_of_the_ratio_that_keeps_a_target_out_of_reach_is_told() -> None:
    problem = CalibrationProblem.build(np.ones((1, 4)), [40.0])
    assert [finding.code for finding in _run(problem, max_weight_ratio=2.0).findings][:1] == ["out_of_reach"]


def test_the_dense_optimum_bounds_the_loss_and_held_out_targets_have_no_price() -> None:
    problem = replace(conflicting(), holdout=np.arange(10) == 3)
    result = _run(problem, record_budget=8)
    assert result.lower_bound is not None
    assert result.lower_bound <= result.loss * (1 + 1e-9)
    assert [row["price"] is None for row in result.target_rows()] == [i == 3 for i in range(10)]


def test_without_the_dense_optimum_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "_MOST_PAIRS", 0)
    result = _run(conflicting())
    assert (result.lower_bound, result.prices) == (None, None)
    assert [finding.code for finding in result.findings] == ["lower_bound_skipped"]


@pytest.mark.parametrize(("distance", "bounds"), [("linear", {}), ("raking", {}), ("logit", {"max_weight_ratio": 9.0})])
def test_selector_dense_is_classical_calibration(distance: str, bounds: dict[str, float]) -> None:
    known = solved(n_targets=3)
    result = _run(known.problem, selector="dense", distance=distance, **bounds)
    upper = bounds.get("max_weight_ratio", np.inf)
    expected = calibrate_weights(
        known.problem.matrix,
        known.problem.targets,
        known.problem.design_weights,
        distance=distance,  # type: ignore[arg-type]  # one of the three
        upper_ratio=upper,
    )
    np.testing.assert_allclose(result.weights, expected, rtol=1e-9)
    assert result.summary["max_abs_relative_error"] < 1e-8


def test_classical_calibration_can_conserve_the_mass() -> None:
    result = _run(solved(n_targets=3).problem, selector="dense", mass="conserve")
    assert result.weights.sum() == pytest.approx(result.problem.design_weights.sum(), rel=1e-9)
    assert result.summary["max_abs_relative_error"] < 1e-8


@pytest.mark.parametrize("distance", ["linear", "raking"])
def test_totals_that_cannot_be_met_are_come_near_to_with_a_warning(distance: str) -> None:
    result = _run(conflicting(), selector="dense", distance=distance)
    told = [report for report in _reports(conflicting(), selector="dense") if isinstance(report, FindingReport)]
    assert "infeasible_targets" in {report.code for report in told}
    assert result.lower_bound is not None
    assert result.loss == pytest.approx(result.lower_bound, rel=1e-2)


def test_the_logit_distance_takes_no_bounds_of_single_units() -> None:
    problem = replace(solved().problem, upper_bounds=np.full(60, 50.0))
    with pytest.raises(InvalidHyperparameter, match="weight_bounds"):
        _run(problem, selector="dense", distance="logit", max_weight_ratio=5.0)


@pytest.mark.parametrize("selector", ["gates", "matching_pursuit", "dense"])
def test_told_to_stop_it_stops(selector: str) -> None:
    options = {"selector": selector} | ({} if selector == "dense" else {"record_budget": 5})
    found = run(solved().problem, CalibrationHyperparameters(**options), RunContext(should_stop=lambda: True))  # type: ignore[arg-type]
    assert isinstance(found, Stopped)
