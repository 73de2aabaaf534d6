"""What a finished calibration says of itself."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l0core.calibration import KIND
from l0core.calibration.objective import prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import MOST_GROUPS, CalibrationResult
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, RunContext
from l0core.findings import Finding
from tests.problems import by_hand, solved


@pytest.fixture
def result(tmp_path: Path) -> CalibrationResult:
    context = RunContext(seed=5, checkpoints=CheckpointPolicy(folder=tmp_path / "state"))
    found = run(by_hand(), CalibrationHyperparameters(epochs=10, record_budget=2), context)
    assert isinstance(found, CalibrationResult)
    return found


def test_the_summary_adds_the_losses_and_the_epochs_to_the_diagnostics(result: CalibrationResult) -> None:
    objective = prepare(result.problem, result.options)
    assert result.summary["loss"] == pytest.approx(objective.loss(result.weights[objective.units]))
    assert result.summary["selection_loss"] == result.selection_loss
    assert (result.summary["epochs"], result.summary["n_active"]) == (10, 2)


@pytest.fixture
def missed() -> CalibrationResult:
    """One unit for two targets: a loss well above 0."""
    found = run(by_hand(), CalibrationHyperparameters(epochs=10, record_budget=1), RunContext(seed=5))
    assert isinstance(found, CalibrationResult)
    assert found.loss > 1e-6
    return found


def test_what_the_targets_add_sums_to_the_loss(missed: CalibrationResult) -> None:
    objective = prepare(missed.problem, missed.options)
    assert math.fsum(missed.parts) == pytest.approx(missed.loss, rel=1e-12, abs=0)
    assert missed.parts[objective.rows] == pytest.approx(objective.parts(missed.weights[objective.units]))
    assert not missed.parts[missed.problem.holdout].any()
    assert missed.summary["normalised_loss"] == pytest.approx(missed.loss / objective.omega.sum())


def test_without_a_bound_there_is_no_gap_and_without_a_cap_nothing_past_it(result: CalibrationResult) -> None:
    names = ("lower_bound", "gap_to_lower_bound", "normalised_gap_to_lower_bound", "past_cap")
    bare = replace(result, lower_bound=None)
    assert [bare.summary[name] for name in names] == [None] * 4


def test_the_gap_is_the_loss_above_the_lower_bound(missed: CalibrationResult) -> None:
    summary = replace(missed, lower_bound=missed.loss / 4).summary
    assert summary["gap_to_lower_bound"] == pytest.approx(0.75 * missed.loss)
    assert summary["normalised_gap_to_lower_bound"] == pytest.approx(0.75 * summary["normalised_loss"])


def test_prices_stand_in_the_rows_where_there_are_some(result: CalibrationResult) -> None:
    assert [row["price"] for row in replace(result, prices=None).target_rows()] == [None] * 3
    rows = replace(result, prices=np.array([0.5, np.nan, -2.0])).target_rows()
    assert [row["price"] for row in rows] == [0.5, None, -2.0]


def test_targets_past_the_cap_are_counted() -> None:
    problem = CalibrationProblem.build([[1.0], [1.0], [0.0]], [1.0, 1.0, 5.0])
    options = CalibrationHyperparameters(epochs=20, loss="absolute_relative", loss_cap=0.5)
    found = run(problem, options, RunContext())
    assert isinstance(found, CalibrationResult)
    assert found.past_cap is not None
    assert (found.past_cap.tolist(), found.summary["past_cap"]) == ([False, False, True], 1)
    assert found.parts[2] == 0.5


def test_the_groups_of_the_summary_are_those_that_add_most(missed: CalibrationResult) -> None:
    groups = missed.summary["by_group"]["groups"]
    assert math.fsum(group["loss"] for group in groups) == pytest.approx(missed.loss, rel=1e-12, abs=0)
    assert {group["group"] for group in groups} == {1, 2}
    assert next(g for g in groups if g["group"] == 2)["holdout"]["n_targets"] == 1


def test_of_many_groups_the_summary_lists_twenty_and_counts_the_rest() -> None:
    n = MOST_GROUPS + 7
    problem = CalibrationProblem.build(np.ones((n, 1)), np.linspace(1, 2, n), target_groups=range(n))
    found = run(problem, CalibrationHyperparameters(epochs=5), RunContext())
    assert isinstance(found, CalibrationResult)
    by_group = found.summary["by_group"]
    assert (len(by_group["groups"]), by_group["other_groups"]["n_groups"]) == (MOST_GROUPS, 7)


def test_a_problem_without_groups_has_none_in_its_summary() -> None:
    found = run(solved().problem, CalibrationHyperparameters(epochs=5), RunContext())
    assert isinstance(found, CalibrationResult)
    assert "by_group" not in found.summary
    assert found.by_group(5) is None


def test_any_labels_break_the_loss_down(result: CalibrationResult) -> None:
    rows = result.breakdown(["a", "b", "a"])
    assert [(row["label"], row["loss_share"]) for row in rows] == [("a", 1.0), ("b", None)]


def test_findings_of_problem_and_run_stand_together_each_once(result: CalibrationResult) -> None:
    new = Finding(code="infeasible_set", severity="error", target="people", index=0, message="no weights meet it")
    first, *others = result.problem.findings
    assert replace(result, findings=(first, new)).all_findings == [first, *others, new]


def test_there_is_a_row_for_every_target(result: CalibrationResult) -> None:
    estimates = [row["estimate"] for row in result.target_rows()]
    assert estimates == result.problem.estimates(result.weights).tolist()


def test_it_knows_whose_it_is(result: CalibrationResult) -> None:
    assert result.identity.problem_sha256 == result.problem.sha256
    assert result.identity.seed == 5
    assert CalibrationHyperparameters(**result.identity.hyperparameters) == result.options


def test_the_artifacts_written_are_the_artifacts_declared(result: CalibrationResult, tmp_path: Path) -> None:
    artifacts = result.write(tmp_path / "out")
    assert {a.name for a in artifacts} == set(KIND.artifacts)
    assert all(a.path.is_file() and a.path.parent == tmp_path / "out" for a in artifacts)
    assert KIND.weights in {a.name for a in artifacts}


def test_units_that_were_not_kept_have_exactly_zero() -> None:
    found = run(solved().problem, CalibrationHyperparameters(epochs=20, record_budget=7), RunContext())
    assert isinstance(found, CalibrationResult)
    assert np.count_nonzero(found.weights) == 7
    assert found.weights.shape == (60,)
    assert found.weights.dtype == np.float64
