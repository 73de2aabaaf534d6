"""A calibration from beginning to end: known answers, exact budgets, bounds that hold, and what may not matter."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.calibration.objective import prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, EpochReport, Report, RunContext, StageReport, Stopped
from l0core.errors import InfeasibleBudget
from tests.problems import arbitrary, by_hand, conflicting, solved

seeds = st.integers(0, 2**31)


def _run(problem: CalibrationProblem, context: RunContext | None = None, **hyperparameters: Any) -> CalibrationResult:
    result = run(problem, CalibrationHyperparameters(**hyperparameters), context or RunContext(seed=1))
    assert isinstance(result, CalibrationResult)
    return result


@pytest.mark.parametrize("gradient", ["expected", "sampled"])
def test_targets_that_can_be_met_are_met_with_fewer_units_than_there_are(gradient: str) -> None:
    result = _run(solved().problem, epochs=300, gradient=gradient, lambda_share=0.1)
    assert result.summary["max_abs_relative_error"] < 1e-6
    assert result.summary["n_active"] < 60


def test_a_higher_price_keeps_fewer_units() -> None:
    kept = [_run(solved().problem, epochs=200, lambda_share=share).summary["n_active"] for share in (0.0, 0.3, 3.0)]
    assert kept[0] == 60 > kept[1] > kept[2]


def test_a_price_nobody_is_worth_keeps_nobody_and_says_so_in_numbers() -> None:
    result = _run(solved().problem, epochs=200, lambda_l0=1e6)
    assert not result.weights.any()
    assert (result.summary["n_active"], result.summary["mean_abs_relative_error"]) == (0, 1.0)
    assert (result.summary["effective_sample_size"], result.summary["design_effect"]) == (0.0, None)


@settings(deadline=None, max_examples=60)
@given(
    seed=seeds,
    share=st.floats(0, 1),
    gradient=st.sampled_from(["sampled", "sampled", "sampled", "expected"]),  # the table of moments costs most here
    refit=st.booleans(),
    zero_prior=st.sampled_from(["drop", "floor"]),
    loss=st.sampled_from(["relative", "squared"]),
)
def test_a_budget_is_met_exactly(
    seed: int, share: float, gradient: str, refit: bool, zero_prior: str, loss: str
) -> None:
    """From one unit to all there are, on problems of every sort, with few epochs and with some more."""
    problem = arbitrary(seed)
    candidates = prepare(problem, CalibrationHyperparameters(zero_prior=zero_prior)).n_candidates  # type: ignore[arg-type]  # from the list above
    k = 1 + round(share * (candidates - 1))
    result = _run(
        problem,
        record_budget=k,
        epochs=1 + seed % 40,
        gradient=gradient,
        refit=refit,
        zero_prior=zero_prior,
        loss=loss,
    )
    assert result.summary["n_active"] == np.count_nonzero(result.weights) == k
    assert (result.weights >= 0).all()


@pytest.mark.parametrize("budget", [1, 30, 60])
def test_a_budget_is_met_exactly_after_a_long_fit_too(budget: int) -> None:
    assert _run(conflicting(n_units=60), record_budget=budget, epochs=400).summary["n_active"] == budget


def test_a_unit_chosen_although_its_gate_is_closed_keeps_its_own_weight() -> None:
    """All gates start closed and nothing moves to speak of: the two most useful units stay as they are."""
    problem = CalibrationProblem.build([[1.0, 2.0, 3.0]], [6.0], initial_weights=[1.0, 4.0, 5.0])
    settings_: dict[str, Any] = {
        "record_budget": 2,
        "epochs": 1,
        "init_keep_prob": 0.1,
        "learning_rate": 1e-6,
        "refit": False,
    }
    np.testing.assert_allclose(_run(problem, **settings_).weights, [0.0, 4.0, 5.0], rtol=1e-4)


def test_a_budget_beyond_the_candidates_is_refused_before_anything_runs() -> None:
    reports: list[Report] = []
    with pytest.raises(InfeasibleBudget):
        _run(by_hand(), RunContext(report=reports.append), record_budget=4)
    assert reports == [StageReport(stage="preparing")]


def test_a_budget_is_met_whatever_a_design_weight_is_counted_in() -> None:
    problem = CalibrationProblem.build([[1.0, 1.0, 1.0]], [3.0], initial_weights=[1.0, 1e-50, 1.0])
    assert _run(problem, record_budget=3, epochs=5).summary["n_active"] == 3


def test_a_design_weight_below_float32_does_not_diverge_when_there_are_checkpoints(tmp_path: Path) -> None:
    problem = CalibrationProblem.build([[1.0, 1.0, 1.0]], [3.0], initial_weights=[1.0, 1e-50, 1.0])
    context = RunContext(checkpoints=CheckpointPolicy(folder=tmp_path))
    assert _run(problem, context, record_budget=3, epochs=5).summary["n_active"] == 3


@settings(deadline=None, max_examples=30)
@given(
    seed=seeds,
    lower=st.sampled_from([None, 0.1, 0.2, 0.9]),
    upper=st.sampled_from([None, 1.0, 1.5, 10.0]),
    budget=st.sampled_from([None, 1]),
)
def test_the_bounds_on_the_weight_ratio_are_held_exactly(
    seed: int, lower: float | None, upper: float | None, budget: int | None
) -> None:
    problem = arbitrary(seed)
    bounds: dict[str, Any] = {"min_weight_ratio": lower, "max_weight_ratio": upper}
    result = _run(problem, record_budget=budget, epochs=20, gradient="sampled", **bounds)
    kept = result.weights > 0
    design = problem.design_weights[kept]
    assert (result.weights[kept] <= (np.inf if upper is None else upper) * design).all()
    assert (result.weights[kept] >= (lower or 0.0) * design).all()


@settings(deadline=None, max_examples=20)
@given(seed=seeds, refit=st.booleans())
def test_weights_are_never_negative_and_zero_where_a_unit_is_no_candidate(seed: int, refit: bool) -> None:
    problem = arbitrary(seed)
    result = _run(problem, epochs=20, refit=refit, gradient="sampled")
    others = np.setdiff1d(np.arange(problem.n_units), prepare(problem, result.options).units)
    assert (result.weights >= 0).all()
    assert not result.weights[others].any()


@settings(deadline=None, max_examples=20)
@given(seed=seeds, budget=st.sampled_from([None, 1]))
def test_the_refit_never_makes_the_loss_worse(seed: int, budget: int | None) -> None:
    """With weights bounded below by the budget's floor, from the selection projected onto that floor."""
    problem = arbitrary(seed)
    result = _run(problem, epochs=20, record_budget=budget, gradient="sampled")
    objective = prepare(problem, result.options)
    if budget is None:
        rounding = 1e-18 * float(objective.goal @ objective.goal)
        assert result.loss <= max(result.selection_loss * (1 + 1e-9), rounding)
    assert result.loss == pytest.approx(objective.loss(result.weights[objective.units]))


def test_without_a_refit_the_weights_are_those_of_the_gates() -> None:
    result = _run(conflicting(), refit=False, epochs=30)
    assert result.loss == result.selection_loss
    last = max(result.history.snapshots)
    np.testing.assert_allclose(result.problem.estimates(result.weights), result.history.snapshots[last], rtol=1e-6)


def test_a_held_out_target_moves_no_bit_of_the_weights() -> None:
    known = solved(n_targets=8).problem
    held = np.arange(8) >= 6

    def weights(factor: float) -> bytes:
        problem = CalibrationProblem.build(
            known.matrix,
            np.where(held, factor * known.targets, known.targets),
            initial_weights=known.design_weights,
            holdout=held,
        )
        return _run(problem, epochs=30).weights.tobytes()

    assert weights(1.0) == weights(7.0)


def test_a_target_that_weighs_more_is_met_better() -> None:
    """Two totals of the same units, 1 and 2: the answer is the mean, by weight."""
    for weight in (1.0, 9.0):
        problem = CalibrationProblem.build(
            [[1.0, 1.0], [1.0, 1.0]], [1.0, 2.0], target_weights=[1.0, weight], target_scales=[1.0, 1.0]
        )
        estimate = _run(problem, lambda_l0=0.0, epochs=100).weights.sum()
        assert estimate == pytest.approx((1 + 2 * weight) / (1 + weight), rel=5e-3)


def test_a_group_counts_as_one_target_does() -> None:
    """Nine targets of 1 in one group against one of 2 in another: 1.5, and 1.1 when groups are not normalised."""
    for normalise, expected in ((True, 1.5), (False, 1.1)):
        problem = CalibrationProblem.build(
            np.ones((10, 2)), [1.0] * 9 + [2.0], target_groups=[0] * 9 + [1], target_scales=[1.0] * 10
        )
        result = _run(problem, lambda_l0=0.0, epochs=100, normalize_groups=normalise)
        assert result.weights.sum() == pytest.approx(expected, rel=5e-3)


def test_the_stages_are_reported_in_order_and_the_epochs_within_the_selection() -> None:
    reports: list[Report] = []
    _run(solved().problem, RunContext(report=reports.append, log_every=5), epochs=10)
    said = [r.stage if isinstance(r, StageReport) else "epoch" for r in reports]
    assert said == ["preparing", "selecting", "epoch", "epoch", "epoch", "refitting", "evaluating"]
    assert [r.epoch for r in reports if isinstance(r, EpochReport)] == [0, 5, 10]


def test_a_run_told_to_stop_says_where() -> None:
    assert run(by_hand(), CalibrationHyperparameters(), RunContext(should_stop=lambda: True)) == Stopped(epoch=0)


def test_one_target_and_one_unit_are_a_problem_too() -> None:
    result = _run(CalibrationProblem.build([[2.0]], [10.0]), record_budget=1, epochs=20)
    assert result.weights == pytest.approx([5.0], rel=1e-6)
