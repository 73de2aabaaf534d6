"""Least squares within bounds: as good as another solver, from any start, and cheap from a good one."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from l0core.arrays import FloatArray
from l0core.calibration import bounded_least_squares as module
from l0core.calibration.bounded_least_squares import BoundedProblem, factor, solve

seeds = st.integers(0, 2**31)


@dataclass(frozen=True, kw_only=True)
class _Case:
    matrix: FloatArray
    goal: FloatArray
    problem: BoundedProblem
    start: FloatArray

    def loss(self, x: FloatArray) -> float:
        residual = self.matrix @ x - self.goal
        return float(residual @ residual)


def _random(seed: int) -> _Case:
    """Give columns that are sometimes copies of one another or more than the rows, and bounds of every sort."""
    rng = np.random.default_rng(seed)
    q, k = rng.integers(1, 20), rng.integers(1, 25)
    matrix = rng.standard_normal((q, k)) + (1.0 if rng.random() < 0.5 else 0.0)
    if rng.random() < 0.3:
        matrix[:, rng.integers(k)] = matrix[:, rng.integers(k)]
    matrix /= np.linalg.norm(matrix, axis=0)
    lower = np.zeros(k) if rng.random() < 0.5 else rng.random(k)
    upper = np.full(k, np.inf) if rng.random() < 0.5 else lower + rng.random(k)
    goal = 3 * rng.standard_normal(q) + 1
    problem = BoundedProblem(gram=matrix.T @ matrix, moment=matrix.T @ goal, lower=lower, upper=upper)
    return _Case(matrix=matrix, goal=goal, problem=problem, start=4 * rng.standard_normal(k))


@pytest.mark.parametrize("seed", range(150))
def test_it_is_as_good_as_another_solver(seed: int) -> None:
    case = _random(seed)
    bounds = (case.problem.lower, np.maximum(case.problem.upper, case.problem.lower + 1e-12))
    other = lsq_linear(case.matrix, case.goal, bounds=bounds, method="bvls", max_iter=2000, tol=1e-15).x
    assert case.loss(solve(case.problem, case.start)) <= case.loss(other) * (1 + 1e-8) + 1e-12


@settings(deadline=None, max_examples=200)
@given(seed=seeds)
def test_it_is_within_the_bounds_and_never_worse_than_its_start(seed: int) -> None:
    case = _random(seed)
    x = solve(case.problem, case.start)
    assert (x >= case.problem.lower).all()
    assert (x <= case.problem.upper).all()
    assert case.loss(x) <= case.loss(case.problem.clip(case.start)) * (1 + 1e-12) + 1e-12


@settings(deadline=None, max_examples=100)
@given(seed=seeds)
def test_no_weight_is_pulled_further_than_rounding(seed: int) -> None:
    problem = _random(seed).problem
    x = solve(problem, problem.lower)
    pull, near = problem.pull(x), 1e-7 * (1 + np.abs(problem.moment).max())
    assert (pull[x < problem.upper] <= near).all()
    assert (pull[x > problem.lower] >= -near).all()


def test_a_problem_that_has_its_solution_needs_no_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _random(7).problem
    x = solve(problem, problem.lower)
    monkeypatch.setattr(module, "factor", lambda _: pytest.fail("factored"))
    assert np.array_equal(solve(problem, x), x)


def test_bounds_that_meet_leave_no_choice() -> None:
    at = np.array([1.0, 2.0])
    problem = BoundedProblem(gram=np.eye(2), moment=np.array([5.0, -5.0]), lower=at, upper=at)
    assert solve(problem, np.zeros(2)).tolist() == [1.0, 2.0]


def test_no_columns_have_no_weights() -> None:
    nothing = np.zeros(0)
    assert solve(BoundedProblem(gram=np.zeros((0, 0)), moment=nothing, lower=nothing, upper=nothing), nothing).size == 0


def test_two_copies_of_a_column_are_factored_with_a_ridge_no_larger_than_needed() -> None:
    lower, _ = factor(np.ones((2, 2)))
    assert np.allclose(np.tril(lower) @ np.tril(lower).T, np.ones((2, 2)), atol=1e-11)
