"""Baselines choose as they say, exactly as many as asked for, and end with the refit of a job."""

import doctest
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.calibration import baseline
from l0core.calibration.baselines import (
    OF_THEIR_OWN_SIZE,
    Method,
    _Lasso,
    inclusion_probabilities,
    least_squares_vertex,
    systematic,
)
from l0core.calibration.objective import prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.run import run
from l0core.context import RunContext
from l0core.errors import InfeasibleBudget, InvalidHyperparameter, InvalidInput
from tests.problems import conflicting, solved

COUNTED: list[Method] = ["random", "pps", "pps_refit", "proximal_l1"]
REFITTED: list[Method] = ["random", "pps_refit", "proximal_l1"]
EVERY: list[Method] = [*COUNTED, "dense", "vertex"]
NOBODY = np.zeros(0, dtype=np.intp)
PAGE = Path(__file__).parents[3] / "docs" / "baselines.md"


def size_of(method: Method, count: int) -> int | None:
    return None if method in OF_THEIR_OWN_SIZE else count


def prepared(problem: CalibrationProblem) -> tuple[sp.csr_array, np.ndarray[Any, Any]]:
    """Give A and b, rows divided by their scale."""
    objective = prepare(problem, CalibrationHyperparameters())
    return objective.columns(np.arange(objective.n_candidates)), objective.goal


@pytest.mark.parametrize("count", [1, 4, 6, 17, 59, 60])
@pytest.mark.parametrize("method", COUNTED)
def test_exactly_as_many_units_as_asked_for_are_positive(method: Method, count: int) -> None:
    for seed in range(3):
        found = baseline(solved().problem, method, count=count, seed=seed)
        assert (found.weights >= 0).all()
        assert int((found.weights > 0).sum()) == found.summary["n_active"] == count


@pytest.mark.parametrize("method", COUNTED)
def test_the_record_budget_of_a_job_is_the_count(method: Method) -> None:
    options = CalibrationHyperparameters(record_budget=7)
    found = baseline(solved().problem, method, hyperparameters=options)
    assert found.summary["n_active"] == 7
    assert (found.weights == baseline(solved().problem, method, count=7).weights).all()


@pytest.mark.parametrize("method", EVERY)
def test_protected_units_are_always_kept(method: Method) -> None:
    problem = replace(conflicting(), protected_units=np.array([3, 11, 39]))
    for count in (3, 5):
        for seed in range(3):
            weights = baseline(problem, method, count=size_of(method, count), seed=seed).weights
            assert (weights[problem.protected_units] > 0).all()
            assert method in OF_THEIR_OWN_SIZE or int((weights > 0).sum()) == count


@pytest.mark.parametrize("mass", ["free", "conserve"])
@pytest.mark.parametrize("method", [*REFITTED, "dense"])
def test_bounds_and_mass_are_held(method: Method, mass: Any) -> None:
    problem = solved(seed=2).problem
    options = CalibrationHyperparameters(max_weight_ratio=2.5, mass=mass)
    found = baseline(problem, method, count=size_of(method, 30), hyperparameters=options, seed=1)
    kept = found.weights > 0
    ratios = found.weights[kept] / problem.design_weights[kept]
    assert ratios.max() <= 2.5 * (1 + 1e-12)
    assert method == "dense" or ratios.min() >= 0.01 * (1 - 1e-12)
    if mass == "conserve":
        assert found.weights.sum() == pytest.approx(problem.design_weights.sum(), rel=1e-9)


def test_units_come_in_where_a_random_subset_cannot_carry_the_mass() -> None:
    """20 units of at most 2 and one of 1,000 must sum to 60."""
    upper = np.full(60, 2.0)
    upper[0] = 1000.0
    problem = CalibrationProblem.build(np.ones((1, 60)), [60.0], weight_bounds={"upper": upper})
    options = CalibrationHyperparameters(mass="conserve")
    for seed in range(3):
        weights = baseline(problem, "random", count=20, hyperparameters=options, seed=seed).weights
        assert weights[0] > 0
        assert int((weights > 0).sum()) == 20
        assert float(weights.sum()) == pytest.approx(60.0)


@pytest.mark.parametrize("method", REFITTED)
def test_no_weights_of_the_same_units_fit_better(method: Method) -> None:
    """By scipy's bounded least squares, from a budget's 0.01 of the design weight upwards."""
    problem = conflicting()
    found = baseline(problem, method, count=8, seed=3)
    matrix, goal = prepared(problem)
    kept = np.flatnonzero(found.weights)
    best = so.lsq_linear(matrix[:, kept].toarray(), goal, (0.01, np.inf), tol=1e-14)
    assert found.summary["loss"] == pytest.approx(2 * best.cost, rel=1e-6)


@pytest.mark.parametrize("method", REFITTED)
def test_the_loss_and_the_prices_of_weights_are_those_of_the_hyperparameters(method: Method) -> None:
    problem = conflicting()
    even = baseline(problem, method, count=8, hyperparameters=CalibrationHyperparameters(lambda_spread=10.0), seed=3)
    plain = baseline(problem, method, count=8, seed=3)
    assert even.summary["effective_sample_size"] > plain.summary["effective_sample_size"]
    assert even.summary["loss"] > plain.summary["loss"]
    options = CalibrationHyperparameters(loss="absolute_relative")
    absolute = baseline(problem, method, count=8, hyperparameters=options, seed=3)
    errors = problem.relative_errors(problem.estimates(absolute.weights))
    assert absolute.summary["loss"] == pytest.approx(np.abs(errors).sum())
    assert absolute.summary["mean_abs_relative_error"] <= plain.summary["mean_abs_relative_error"] * (1 + 1e-9)


def test_a_summary_is_read_like_a_job_s() -> None:
    problem = solved().problem
    job = run(problem, CalibrationHyperparameters(record_budget=9, epochs=5), RunContext())
    summary = baseline(problem, "random", count=9).summary
    assert summary.keys() <= job.summary.keys()  # type: ignore[union-attr]  # nobody stops it
    assert {"loss", "n_active", "mean_abs_relative_error", "effective_sample_size"} <= summary.keys()


@pytest.mark.parametrize("method", EVERY)
def test_the_same_seed_gives_the_same_bits_and_the_global_generator_rests(method: Method) -> None:
    problem, state = solved().problem, repr(np.random.get_state())
    first, again, other = (baseline(problem, method, count=size_of(method, 9), seed=s).weights for s in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any() == (method in ("random", "pps", "pps_refit"))
    assert repr(np.random.get_state()) == state


def test_without_a_refit_a_random_unit_stands_for_its_share_of_the_others() -> None:
    problem = replace(solved().problem, protected_units=np.array([4]))
    options = CalibrationHyperparameters(refit=False)
    weights = baseline(problem, "random", count=11, hyperparameters=options).weights
    ratios = weights / problem.design_weights
    assert ratios[4] == 1.0
    assert Counter(ratios[np.arange(60) != 4].round(9)) == {5.9: 10, 0.0: 49}


def test_every_unit_is_drawn_at_random_equally_often() -> None:
    """300 draws of 15 of 60: 75 times each in the mean, standard deviation 7.5."""
    problem, options = solved().problem, CalibrationHyperparameters(refit=False)
    samples = [
        baseline(problem, "random", count=15, hyperparameters=options, seed=seed).weights > 0 for seed in range(300)
    ]
    drawn = np.sum(samples, axis=0)
    assert np.abs(drawn - 75).max() < 4.5 * 7.5
    assert 5 < drawn.std() < 10


def test_units_drawn_by_size_sum_to_the_dense_weights_and_weigh_the_same() -> None:
    problem = solved().problem
    dense, drawn = baseline(problem, "dense").weights, baseline(problem, "pps", count=20).weights
    assert drawn.sum() == pytest.approx(dense.sum(), rel=1e-12)
    chance = inclusion_probabilities(dense, 20, certain=NOBODY)
    kept = drawn > 0
    assert drawn[kept] == pytest.approx(dense[kept] / chance[kept], rel=1e-12)
    assert drawn[kept & (chance < 1)] == pytest.approx(dense[chance < 1].sum() / (20 - (chance == 1).sum()))


sizes_and_counts = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40).flatmap(
    lambda sizes: st.tuples(st.just(np.array(sizes)), st.integers(1, len(sizes)), st.integers(0, 2**32))
)


@given(sizes_and_counts)
@settings(max_examples=300, deadline=None)
def test_a_systematic_sample_has_its_size_whatever_the_sizes(case: tuple[Any, int, int]) -> None:
    sizes, count, seed = case
    chance = inclusion_probabilities(sizes, count, certain=NOBODY)
    assert chance.sum() == pytest.approx(count, rel=1e-12)
    assert (chance >= 0).all()
    assert (chance <= 1).all()
    assert (chance[np.argsort(-sizes)[:count]] > 0).all()
    drawn = chance < 1
    assert chance[drawn] * sizes[drawn].sum() == pytest.approx(sizes[drawn] * chance[drawn].sum(), rel=1e-9, abs=1e-12)
    sample = systematic(chance, np.random.default_rng(seed))
    assert sample.size == np.unique(sample).size == count
    assert np.isin(np.flatnonzero(chance == 1), sample).all()


def test_a_systematic_sample_includes_each_unit_with_its_probability() -> None:
    chance = inclusion_probabilities(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 40.0]), 3, certain=NOBODY)
    rng = np.random.default_rng(0)
    drawn = np.bincount(np.concatenate([systematic(chance, rng) for _ in range(4000)]), minlength=6) / 4000
    assert np.abs(drawn - chance).max() < 4 * 0.5 / np.sqrt(4000)


def test_no_more_units_are_drawn_by_size_than_the_dense_optimum_uses() -> None:
    """Twenty units count towards a total of 0, so that their dense weight is 0."""
    nothing = np.repeat([0.0, 1.0], [40, 20])
    problem = CalibrationProblem.build(np.vstack([np.ones(60), nothing]), [80.0, 0.0])
    assert baseline(problem, "pps", count=40).summary["n_active"] == 40
    with pytest.raises(InfeasibleBudget, match="count is 41, and the dense optimum uses 40 units") as caught:
        baseline(problem, "pps", count=41)
    assert (caught.value.budget, caught.value.available) == (41, 40)


def test_the_dense_optimum_is_that_of_non_negative_least_squares() -> None:
    matrix, goal = prepared(conflicting())
    _, residual = so.nnls(matrix.toarray(), goal)
    assert baseline(conflicting(), "dense").summary["loss"] == pytest.approx(residual**2, rel=1e-9)


@pytest.mark.parametrize("method", COUNTED)
def test_no_subset_beats_the_dense_optimum(method: Method) -> None:
    least = baseline(conflicting(), "dense").summary["loss"]
    for count in (2, 9, 40):
        assert baseline(conflicting(), method, count=count).summary["loss"] >= least * (1 - 1e-9)


def test_dense_weights_may_be_0_where_the_bounds_of_kept_units_are_not() -> None:
    problem = CalibrationProblem.build([[1.0, 1.0], [0.0, 1.0]], [5.0, 0.0], weight_bounds={"lower": 2.0})
    assert baseline(problem, "dense").weights == pytest.approx([5.0, 0.0], abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_a_vertex_is_an_optimum_on_independent_columns(seed: int) -> None:
    """300 units, of whom 24 enter at a time; six targets, the sixth the sum of two others but 10 % higher."""
    rng = np.random.default_rng(seed)
    rows = rng.random((5, 300)) * (rng.random((5, 300)) < 0.4)
    rows = np.vstack([rows, rows[0] + rows[1]])
    totals = rows.sum(axis=1) * np.array([1, 1, 1, 1, 1, 1.1])
    found = baseline(CalibrationProblem.build(rows, totals), "vertex")
    _, residual = so.nnls(rows / totals[:, None], np.ones(6))
    kept = np.flatnonzero(found.weights)
    assert found.summary["loss"] == pytest.approx(residual**2, rel=1e-9)
    assert kept.size == np.linalg.matrix_rank(rows[:, kept]) <= 5


def test_a_vertex_of_targets_that_nobody_counts_towards_keeps_nobody() -> None:
    assert least_squares_vertex(sp.csc_array((3, 4)), np.ones(3)).tolist() == [0.0] * 4


def test_a_price_shrinks_weights_that_share_no_target_by_itself() -> None:
    """Orthogonal columns: v_j = max(0, a_j'b - price * cost), in closed form."""
    goal = np.array([5.0, 3.0, 1.0, -2.0])
    lasso = _Lasso.of(sp.csc_array(sp.eye_array(4)), goal, free_of_charge=np.array([2]))
    assert lasso.solve(0.5, np.zeros(4)) == pytest.approx([2.5, 0.5, 1.0, 0.0])
    assert lasso.solve(1.0, np.ones(4)) == pytest.approx([0.0, 0.0, 1.0, 0.0])


def test_proximal_steps_end_where_no_weight_is_pulled() -> None:
    """The optimality conditions: pull a_j'(b - A v) = price * cost where v_j > 0, and no more elsewhere."""
    matrix, goal = prepared(solved(n_targets=20).problem)
    unit = sp.csc_array(matrix / np.sqrt((matrix**2).sum(axis=0)))
    lasso = _Lasso.of(unit, goal, free_of_charge=NOBODY)
    v = np.zeros(60)
    for _ in range(20):
        v = lasso.solve(0.3, v)
    pull = unit.T @ (goal - unit @ v) - 0.3 * lasso.costs
    assert 0 < np.count_nonzero(v) < 20
    assert np.abs(pull[v > 0]).max() < 1e-8
    assert pull[v == 0].max() < 1e-8


def test_the_refit_takes_the_shrinkage_back() -> None:
    problem, raw = solved().problem, CalibrationHyperparameters(refit=False)
    shrunken = baseline(problem, "proximal_l1", count=4, hyperparameters=raw)
    fitted = baseline(problem, "proximal_l1", count=4)
    assert ((shrunken.weights > 0) == (fitted.weights > 0)).all()
    assert fitted.summary["loss"] < 0.9 * shrunken.summary["loss"]
    assert shrunken.weights.sum() < fitted.weights.sum()


def test_a_price_chooses_better_than_chance() -> None:
    problem = solved(n_targets=20, n_units=300).problem
    chosen = baseline(problem, "proximal_l1", count=15).summary["loss"]
    assert all(chosen < 0.3 * baseline(problem, "random", count=15, seed=s).summary["loss"] for s in range(5))


@pytest.mark.parametrize(
    ("method", "count", "settings_", "words"),
    [
        ("lasso", 3, {}, "method is 'lasso'; it must be one of 'random'"),
        ("random", None, {}, "count is None; it must be a whole number"),
        ("random", 0, {}, "count is 0"),
        ("random", 2.5, {}, "count is 2.5"),
        ("random", 3, {"record_budget": 4}, "count is 3, and record_budget 4"),
        ("random", 3, {"min_weight_ratio": 0.0}, "min_weight_ratio is 0"),
        ("pps_refit", 3, {"refit": False}, "refit is false"),
        ("dense", 3, {}, "count is 3, and 'dense' sets its own size"),
        ("vertex", 3, {}, "count is 3, and 'vertex' sets its own size"),
        ("vertex", None, {"loss": "absolute_relative"}, "loss is absolute"),
        ("vertex", None, {"lambda_spread": 1.0}, "prices no weight"),
        ("vertex", None, {"lambda_l2": 1.0}, "prices no weight"),
        ("vertex", None, {"max_weight_ratio": 3.0}, "bounds or a mass are given"),
        ("vertex", None, {"min_weight_ratio": 0.1}, "bounds or a mass are given"),
        ("vertex", None, {"mass": "conserve"}, "bounds or a mass are given"),
    ],
)
def test_what_a_method_cannot_do_is_refused(method: Any, count: Any, settings_: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidHyperparameter, match=words):
        baseline(solved().problem, method, count=count, hyperparameters=CalibrationHyperparameters(**settings_))


def test_more_units_than_there_are_to_choose_from_are_refused_with_their_number() -> None:
    with pytest.raises(InfeasibleBudget) as caught:
        baseline(solved().problem, "random", count=61)
    assert (caught.value.budget, caught.value.available) == (61, 60)


def test_a_vertex_of_too_many_targets_is_refused() -> None:
    problem = CalibrationProblem.build(sp.csr_array(np.ones((2001, 1))), np.ones(2001))
    with pytest.raises(InvalidInput, match="the fit has 2001 targets, and 'vertex' takes minutes above 2000"):
        baseline(problem, "vertex")


def test_the_programs_of_the_page_run_as_written() -> None:
    done = doctest.testfile(str(PAGE), module_relative=False)
    assert done.attempted > 0
    assert done.failed == 0
