"""The exact refit: never worse than its start, as good as another solver, the smallest weights among its equals."""

import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from l0core.arrays import FloatArray
from l0core.calibration import systems as module
from l0core.calibration.bounds import Bounds
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.refit import RefitProblem, refit
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import RunContext
from tests.problems import solved

seeds = st.integers(0, 2**31)


def _bounds(lower: FloatArray, upper: FloatArray, mass: float | None = None) -> Bounds:
    return Bounds(lower=lower, upper=upper, always=np.arange(lower.size), mass=mass)


@dataclass(frozen=True, kw_only=True)
class _Case:
    problem: RefitProblem
    start: FloatArray

    def allowed(self) -> float:
        """Give the loss of the projected start, to 1e-9, or a residual of 1e-9 of the goal."""
        at_start = self.problem.loss(np.clip(self.start, self.problem.bounds.lower, self.problem.bounds.upper))
        return max(at_start * (1 + 1e-9), 1e-18 * float(self.problem.goal @ self.problem.goal))


def _random(seed: int, *, consistent: bool | None = None, scale: float = 1.0) -> _Case:
    """Give 1 to 24 rows, some twice, 1 to 24 units of either sign, relative targets, and bounds of every sort."""
    rng = np.random.default_rng(seed)
    q, k = rng.integers(1, 13), rng.integers(1, 25)
    matrix = rng.random((q, k)) * (rng.random((q, k)) < 0.5)
    if rng.random() < 0.2:
        matrix = np.vstack([matrix, matrix])
    if rng.random() < 0.2:
        matrix *= rng.choice([-1, 1], matrix.shape)
    weights = rng.exponential(size=k)
    goal = matrix @ weights
    if not (rng.random() < 0.5 if consistent is None else consistent):
        goal = goal * rng.uniform(0.7, 1.3, goal.size)
    size = np.where(np.abs(goal) > 0.01, np.abs(goal), 1.0)
    lower = np.zeros(k) if rng.random() < 0.5 else 0.3 * weights * rng.random(k)
    upper = np.full(k, np.inf) if rng.random() < 0.5 else lower + 2 * rng.random(k)
    problem = RefitProblem(
        matrix=sp.csr_array(scale * matrix / size[:, None]), goal=scale * goal / size, bounds=_bounds(lower, upper)
    )
    return _Case(problem=problem, start=weights * np.exp(rng.uniform(0, 1) * rng.standard_normal(k)))


def _plain(matrix: Any, goal: Any) -> RefitProblem:
    rows = sp.csr_array(np.array(matrix, dtype=float))
    k = rows.shape[1]
    return RefitProblem(matrix=rows, goal=np.array(goal, float), bounds=_bounds(np.zeros(k), np.full(k, np.inf)))


@settings(deadline=None, max_examples=250)
@given(seed=seeds)
def test_it_is_never_worse_than_its_start_and_never_outside_the_bounds(seed: int) -> None:
    case = _random(seed)
    weights = refit(case.problem, case.start)
    assert case.problem.loss(weights) <= case.allowed()
    assert (weights >= case.problem.bounds.lower).all()
    assert (weights <= case.problem.bounds.upper).all()


@settings(deadline=None, max_examples=50)
@given(seed=seeds, exponent=st.integers(-6, 6))
def test_it_is_never_worse_than_its_start_at_any_scale(seed: int, exponent: int) -> None:
    case = _random(seed, scale=10.0**exponent)
    weights = refit(case.problem, case.start)
    assert case.problem.loss(weights) <= case.allowed()


def _optimum(problem: RefitProblem) -> FloatArray:
    room = np.maximum(problem.bounds.upper, problem.bounds.lower + 1e-12)
    found = lsq_linear(
        problem.matrix.toarray(),
        problem.goal,
        bounds=(problem.bounds.lower, room),
        method="bvls",
        max_iter=2000,
        tol=1e-15,
    )
    return np.clip(found.x, problem.bounds.lower, problem.bounds.upper)


@pytest.mark.parametrize("seed", range(120))
def test_it_is_as_good_as_bounded_least_squares(seed: int) -> None:
    """To 1e-4 of the loss, the share below which a stage is not worth another, or to 1e-6 of the targets squared."""
    case = _random(seed)
    best = case.problem.loss(_optimum(case.problem))
    found = case.problem.loss(refit(case.problem, case.start))
    assert best * (1 - 1e-9) - 1e-12 <= found <= best * (1 + 1e-4) + 1e-6


@pytest.mark.parametrize("seed", [*range(40), 1970])
def test_a_start_that_cannot_be_bettered_is_not_made_worse(seed: int) -> None:
    """At 1970 a stage gains less than a worthwhile share and is the last, 1.7e-4 of the loss above the optimum."""
    case = _random(seed, consistent=False if seed < 1970 else None)
    best = _Case(problem=case.problem, start=_optimum(case.problem))
    assert case.problem.loss(refit(case.problem, best.start)) <= best.allowed()


@pytest.mark.parametrize("seed", range(30))
def test_no_equally_good_weights_have_a_smaller_sum_of_squares(seed: int) -> None:
    case = _random(seed, consistent=True)
    weights, other = refit(case.problem, case.start), _optimum(case.problem)
    if case.problem.loss(other) < 1e-12 and case.problem.loss(weights) < 1e-12:
        assert weights @ weights <= other @ other * (1 + 1e-5)


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_without_active_bounds_it_is_the_minimum_norm_solution(seed: int) -> None:
    """A' (A A')^-1 b; with A and the multipliers positive it is positive, so that no bound holds it."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((3, 12))
    known = matrix.T @ rng.random(3)
    known /= known.mean()
    weights = refit(_plain(matrix, matrix @ known), known * rng.uniform(0.5, 1.5, 12))
    np.testing.assert_allclose(weights, known, rtol=1e-4, atol=1e-6)


def test_one_target_is_shared_alike_among_alike_units() -> None:
    weights = refit(_plain([[1.0, 1.0, 1.0, 1.0]], [8.0]), np.array([5.0, 1.0, 1.0, 1.5]))
    np.testing.assert_allclose(weights, 2.0, rtol=1e-6)


def test_targets_in_conflict_are_met_halfway() -> None:
    """Twice the same row, with 1 and 3 for its total: 2 is the best there is."""
    weights = refit(_plain([[1.0, 1.0], [1.0, 1.0]], [1.0, 3.0]), np.array([0.2, 0.3]))
    np.testing.assert_allclose(weights, 1.0, rtol=1e-3)


def test_a_bound_that_bites_is_held_exactly() -> None:
    problem = RefitProblem(
        matrix=sp.csr_array(np.ones((1, 3))),
        goal=np.array([10.0]),
        bounds=_bounds(np.array([0.1, 0.0, 0.3]), np.array([1 / 3, 1e9, 0.7])),
    )
    weights = refit(problem, np.ones(3))
    assert (weights[0], weights[2]) == (1 / 3, 0.7)
    assert weights.sum() == pytest.approx(10.0, rel=1e-6)


def test_bounds_that_leave_one_point_give_that_point() -> None:
    point = np.array([0.3, 0.7])
    problem = RefitProblem(
        matrix=sp.csr_array(np.array([[1.0, 2.0]])), goal=np.array([9.0]), bounds=_bounds(point, point)
    )
    assert refit(problem, np.ones(2)).tolist() == point.tolist()


def test_a_start_of_zeros_is_a_start() -> None:
    np.testing.assert_allclose(refit(_plain([[1.0, 3.0]], [10.0]), np.zeros(2)), [1.0, 3.0], rtol=1e-5)


def test_rows_that_cannot_move_are_left_alone() -> None:
    weights = refit(_plain([[1.0, 1.0], [0.0, 0.0]], [4.0, 7.0]), np.ones(2))
    np.testing.assert_allclose(weights, 2.0, rtol=1e-3)


@pytest.mark.parametrize("error", [0.003, 0.001])
def test_a_good_start_is_made_better_too(error: float) -> None:
    problem = _plain([[0.25, 0.25, 0.25, 0.25]], [1.0])
    weights = refit(problem, np.array([1.6, 0.4, 1.0, 1.0]) * (1 + error))
    assert problem.loss(weights) < 1e-12


@pytest.mark.parametrize(("seed", "scale"), [(413705, 1.0), (2003, 1.0), (437, 1e5)])
def test_rows_that_depend_on_one_another_can_be_solved_for(seed: int, scale: float) -> None:
    case = _random(seed, scale=scale)
    assert case.problem.loss(refit(case.problem, case.start)) <= case.allowed()


def test_a_perfect_start_is_spread_out_too() -> None:
    weights = refit(_plain([[1.0, 1.0]], [2.0]), np.array([1.5, 0.5]))
    np.testing.assert_allclose(weights, 1.0, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e-2, 1e6])
def test_the_unit_of_the_loss_does_not_change_the_weights(scale: float) -> None:
    plain, scaled = _random(3, consistent=False), _random(3, consistent=False, scale=scale)
    np.testing.assert_allclose(refit(scaled.problem, scaled.start), refit(plain.problem, plain.start), rtol=1e-5)


def test_the_weight_that_all_targets_share_does_not_change_the_fit() -> None:
    known = solved()
    errors = []
    for share in (1.0, 1e-6):
        problem = CalibrationProblem.build(
            known.problem.matrix,
            known.problem.targets,
            initial_weights=known.problem.design_weights,
            target_weights=np.full(known.problem.n_targets, share),
        )
        result = run(problem, CalibrationHyperparameters(record_budget=20, epochs=20), RunContext())
        assert isinstance(result, CalibrationResult)
        errors.append(result.summary["max_abs_relative_error"])
    assert errors == pytest.approx([0.0, 0.0], abs=1e-4)


def test_targets_in_dollars_under_the_squared_loss_are_met_as_well() -> None:
    known = solved()
    problem = CalibrationProblem.build(
        known.problem.matrix * 1e7, known.problem.targets * 1e7, initial_weights=known.problem.design_weights
    )
    options = CalibrationHyperparameters(record_budget=20, epochs=20, loss="squared")
    result = run(problem, options, RunContext())
    assert isinstance(result, CalibrationResult)
    assert result.summary["max_abs_relative_error"] < 1e-6


@settings(deadline=None, max_examples=60)
@given(seed=seeds)
def test_conjugate_gradients_in_the_place_of_factorisations_end_as_near(seed: int) -> None:
    case = _random(seed)
    direct = case.problem.loss(refit(case.problem, case.start))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEW_ROWS", 0)
        patch.setattr(module, "_MOST_FILL", 0)
        patch.setattr(module, "_MOST_DIRECT", 0)
        iterated = case.problem.loss(refit(case.problem, case.start))
    size = float(case.problem.goal @ case.problem.goal)
    assert iterated <= case.allowed()
    assert iterated <= direct * (1 + 1e-3) + 1e-8 * size


def test_a_factorisation_takes_no_more_than_three_of_its_matrices() -> None:
    rng, q, k = np.random.default_rng(0), 1500, 6000
    matrix = sp.csr_array(sp.random_array((q, k), density=0.01, rng=rng))
    goal = np.asarray(matrix @ rng.random(k))
    problem = RefitProblem(matrix=matrix, goal=goal, bounds=_bounds(np.zeros(k), np.full(k, np.inf)))
    refit(problem, np.full(k, 0.5))  # compiled
    tracemalloc.start()
    try:
        refit(problem, np.full(k, 0.5))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 8 * q**2 <= peak <= 3 * 8 * q**2
