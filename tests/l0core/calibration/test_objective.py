"""The prepared objective is the formula of its docstring, written out here number by number."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from l0core.arrays import FloatArray
from l0core.calibration.kernels.norms import squared_norms
from l0core.calibration.objective import group_factors, prepare, price_of_a_unit
from l0core.calibration.options import DEFAULT_LAMBDA_SHARE, CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.errors import InfeasibleBudget, InvalidHyperparameter, InvalidInput
from tests.problems import arbitrary, by_hand, solved

seeds = st.integers(0, 2**31)
losses = st.sampled_from(["relative", "squared"])


def _options(**given_: Any) -> CalibrationHyperparameters:
    return CalibrationHyperparameters(**given_)


def _plain_omega(problem: CalibrationProblem, options: CalibrationHyperparameters) -> dict[int, float]:
    fit = [i for i in range(problem.n_targets) if not problem.holdout[i]]
    omega = {i: float(problem.target_weights[i]) for i in fit}
    if problem.groups is not None:
        group = {i: int(problem.groups[i]) for i in fit}
        size = Counter(group.values())
        for i in fit:
            omega[i] *= options.group_multipliers.get(str(group[i]), 1.0)
            omega[i] /= size[group[i]] if options.normalize_groups else 1
    return omega


def _plain_scale(problem: CalibrationProblem, options: CalibrationHyperparameters, i: int) -> float:
    if options.loss == "squared":
        return 1.0
    if problem.scales is not None:
        return float(problem.scales[i])
    made_of = float(np.abs(problem.matrix.toarray()[i]) @ problem.design_weights)
    return max(abs(float(problem.targets[i])), 0.001 * made_of) or 1.0


def _plain_loss(problem: CalibrationProblem, options: CalibrationHyperparameters, weights: FloatArray) -> float:
    dense, total = problem.matrix.toarray(), 0.0
    for i, omega in _plain_omega(problem, options).items():
        estimate = sum(float(m) * float(w) for m, w in zip(dense[i], weights, strict=True))
        total += omega * ((estimate - float(problem.targets[i])) / _plain_scale(problem, options, i)) ** 2
    return total


@settings(deadline=None)
@given(
    seed=seeds,
    loss=losses,
    normalize=st.booleans(),
    zero_prior=st.sampled_from(["drop", "floor"]),
    multiplied=st.booleans(),
)
def test_the_loss_is_the_plain_formula(
    seed: int, loss: str, normalize: bool, zero_prior: str, multiplied: bool
) -> None:
    problem = arbitrary(seed)
    label = "" if problem.groups is None else str(problem.groups[np.flatnonzero(~problem.holdout)[0]])
    options = _options(
        loss=loss,
        normalize_groups=normalize,
        zero_prior=zero_prior,
        group_multipliers={label: 2.5} if label and multiplied else {},
    )
    objective = prepare(problem, options)
    weights = np.random.default_rng(seed).exponential(size=objective.n_candidates)
    spread = objective.dense(weights)
    assert objective.loss(weights) == pytest.approx(_plain_loss(problem, options, spread), rel=1e-9)
    assert objective.omega.tolist() == pytest.approx(list(_plain_omega(problem, options).values()))


@settings(deadline=None)
@given(seed=seeds, loss=losses)
def test_a_row_of_the_residual_becomes_the_relative_error_of_its_target(seed: int, loss: str) -> None:
    problem = arbitrary(seed)
    objective = prepare(problem, _options(loss=loss))
    weights = np.random.default_rng(seed).exponential(size=objective.n_candidates)
    errors = problem.relative_errors(problem.estimates(objective.dense(weights)))
    residual = objective.columns(np.arange(objective.n_candidates)) @ weights - objective.goal
    np.testing.assert_allclose(residual * objective.to_relative, errors[~problem.holdout], rtol=1e-9, atol=1e-12)


@settings(deadline=None)
@given(seed=seeds, loss=losses)
def test_the_matrix_is_the_problem_s_own_numbers_times_one_factor_a_row(seed: int, loss: str) -> None:
    problem, options = arbitrary(seed), _options(loss=loss)
    objective = prepare(problem, options)
    theirs = problem.matrix.toarray()[np.ix_(objective.rows, objective.units)]
    omega = _plain_omega(problem, options)
    factor = [np.sqrt(omega[i]) / _plain_scale(problem, options, i) for i in omega]
    assert np.array_equal(objective.plain.toarray(), theirs)
    np.testing.assert_allclose(objective.factor, factor, rtol=1e-12)
    np.testing.assert_allclose(
        objective.columns(np.arange(objective.n_candidates)).toarray(), np.array(factor)[:, None] * theirs, rtol=1e-12
    )
    np.testing.assert_allclose(objective.goal, np.array(factor) * problem.targets[objective.rows], rtol=1e-12)


@settings(deadline=None)
@given(seed=seeds)
def test_candidates_are_the_units_with_a_weight_that_count_in_the_fit(seed: int) -> None:
    problem = arbitrary(seed)
    objective = prepare(problem, _options())
    counts = (problem.matrix.toarray()[~problem.holdout] != 0).any(axis=0)
    assert objective.units.tolist() == np.flatnonzero(counts & (problem.design_weights > 0)).tolist()
    assert objective.prior.tolist() == problem.design_weights[objective.units].tolist()
    np.testing.assert_allclose(
        np.sqrt(squared_norms(objective.plain, objective.factor)),
        np.linalg.norm(objective.columns(np.arange(objective.n_candidates)).toarray(), axis=0),
    )


@settings(deadline=None)
@given(seed=seeds)
def test_with_a_floor_a_unit_of_design_weight_zero_gets_the_smallest_positive_one(seed: int) -> None:
    problem = arbitrary(seed)
    assume((problem.design_weights == 0).any())
    objective = prepare(problem, _options(zero_prior="floor"))
    design = problem.design_weights[objective.units]
    smallest = problem.design_weights[problem.design_weights > 0].min()
    assert objective.prior.tolist() == np.where(design > 0, design, smallest).tolist()


def test_the_loss_of_a_problem_by_hand_is_the_number_one_computes() -> None:
    """Targets 5 and 2 stay (income is held out): 1 (6 - 5)^2 / 10^2 + 4 (3 - 2)^2 / 4^2."""
    objective = prepare(by_hand(), _options())
    assert objective.units.tolist() == [0, 1, 3]
    assert objective.loss(np.array([1.0, 2.0, 3.0])) == pytest.approx(0.01 + 0.25)
    squared = prepare(by_hand(), _options(loss="squared", group_multipliers={"2": 3.0}))
    assert squared.loss(np.array([1.0, 2.0, 3.0])) == pytest.approx(1.0 + 12.0)


def test_groups_count_alike_whatever_their_size() -> None:
    problem = CalibrationProblem.build(np.eye(5), [1.0] * 5, target_groups=[7, 7, 7, 7, -1])
    objective = prepare(problem, _options())
    assert objective.omega.tolist() == [0.25] * 4 + [1.0]
    assert prepare(problem, _options(normalize_groups=False)).omega.tolist() == [1.0] * 5


@settings(deadline=None, max_examples=50)
@given(
    groups=st.lists(st.integers(-3, 3), min_size=1, max_size=20),
    normalize=st.booleans(),
    factor=st.floats(0, 10),
)
def test_a_target_s_factor_is_its_group_s_multiplier_over_its_size(
    groups: list[int], normalize: bool, factor: float
) -> None:
    multiplied = groups[0]
    expected = [
        (factor if group == multiplied else 1.0) / (groups.count(group) if normalize else 1) for group in groups
    ]
    by_number, by_text = {multiplied: factor}, {str(multiplied): factor}
    for multipliers in (by_number, by_text):
        found = group_factors(np.array(groups), normalize=normalize, multipliers=multipliers)
        assert found.tolist() == pytest.approx(expected)


def test_a_multiplier_of_a_group_without_targets_is_refused() -> None:
    with pytest.raises(InvalidHyperparameter, match="names group '8', and no target of the fit is in it"):
        group_factors(np.array([1, 1, 7]), normalize=True, multipliers={7: 2.0, 8: 1.0})


def test_lambda_share_is_lambda_free_of_the_size_of_the_problem() -> None:
    objective = prepare(by_hand(), _options())  # omega 1 and 4, 3 candidates
    assert price_of_a_unit(objective, _options(lambda_share=0.3)) == pytest.approx(0.3 * 5 / 3)
    assert price_of_a_unit(objective, _options()) == pytest.approx(DEFAULT_LAMBDA_SHARE * 5 / 3)
    assert price_of_a_unit(objective, _options(lambda_share=0.0)) == 0.0


def test_lambda_l0_is_taken_as_it_is() -> None:
    objective = prepare(by_hand(), _options())
    assert price_of_a_unit(objective, _options(lambda_l0=0.02)) == 0.02
    assert price_of_a_unit(objective, _options(lambda_l0=0.0)) == 0.0


def test_a_budget_beyond_the_candidates_is_refused_with_the_numbers() -> None:
    with pytest.raises(InfeasibleBudget, match="record_budget is 4, and only 3 units") as caught:
        prepare(by_hand(), _options(record_budget=4))
    assert (caught.value.budget, caught.value.available) == (4, 3)
    assert prepare(by_hand(), _options(record_budget=3)).n_candidates == 3


def test_a_floor_makes_room_for_a_budget_that_drop_does_not() -> None:
    problem = CalibrationProblem.build([[1.0, 1.0]], [2.0], initial_weights=[1.0, 0.0])
    with pytest.raises(InfeasibleBudget):
        prepare(problem, _options(record_budget=2))
    assert prepare(problem, _options(record_budget=2, zero_prior="floor")).n_candidates == 2


@pytest.mark.parametrize(
    "problem",
    [
        CalibrationProblem.build([[0.0, 0.0]], [1.0]),
        CalibrationProblem.build([[0.0, 1.0]], [1.0], initial_weights=[1.0, 0.0]),
        CalibrationProblem.build([[0.0, 0.0], [1.0, 1.0]], [1.0, 1.0], holdout=[False, True]),
    ],
)
def test_a_problem_nobody_can_contribute_to_is_refused(problem: CalibrationProblem) -> None:
    with pytest.raises(InvalidInput, match="no unit with a positive weight") as caught:
        prepare(problem, _options())
    assert caught.value.pointer == "/matrix"


@pytest.mark.parametrize(
    ("problem", "multipliers", "pointer"),
    [
        (solved().problem, {"1": 2.0}, "/hyperparameters/group_multipliers"),
        (by_hand(), {"3": 2.0}, "/hyperparameters/group_multipliers/3"),
    ],
)
def test_a_multiplier_that_cannot_act_is_refused_rather_than_ignored(
    problem: CalibrationProblem, multipliers: dict[str, float], pointer: str
) -> None:
    with pytest.raises(InvalidHyperparameter) as caught:
        prepare(problem, _options(group_multipliers=multipliers))
    assert caught.value.pointer == pointer


@pytest.mark.parametrize("name", ["target_scales", "target_weights", "target_tolerances"])
def test_a_number_too_small_to_divide_by_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be above 0 \(1e-100 at least\)") as caught:
        CalibrationProblem.build([[1.0]], [1.0], **{name: [1e-320]})  # type: ignore[arg-type]  # the name is a parameter
    assert caught.value.pointer == f"/{name}/0"


def test_the_smallest_numbers_taken_leave_the_objective_finite() -> None:
    tiny = [1e-100]
    problem = CalibrationProblem.build([[1.0]], [1.0], target_scales=tiny, target_weights=tiny)
    objective = prepare(problem, _options())
    assert np.isfinite(
        [*objective.columns(np.arange(objective.n_candidates)).data, *objective.goal, *objective.to_relative]
    ).all()


def test_a_target_too_small_to_divide_by_is_measured_as_it_is() -> None:
    problem = CalibrationProblem.build([[1e-320]], [1e-320])
    assert problem.scale.tolist() == [1.0]
