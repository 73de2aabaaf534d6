"""Laws of the refit over a thousand small problems: losses, bounds, masses and ridges of every sort."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog

from l0core.arrays import FloatArray
from l0core.calibration.bounds import Bounds
from l0core.calibration.losses import SQUARED, CappedAbsolute, Loss
from l0core.calibration.refit import RefitProblem, refit

_COSTS: tuple[Loss, ...] = (SQUARED, CappedAbsolute(cap=0.5), CappedAbsolute(cap=10.0))


def _random(seed: int) -> tuple[RefitProblem, FloatArray]:
    rng = np.random.default_rng(seed)
    q, k = int(rng.integers(1, 13)), int(rng.integers(1, 26))
    matrix, weights = rng.random((q, k)) * (rng.random((q, k)) < 0.6), rng.exponential(size=k)
    goal = matrix @ weights * rng.uniform(0.7, 1.3, q)
    size = np.where(goal > 0.01, goal, 1.0)
    lower = np.zeros(k) if rng.random() < 0.5 else 0.5 * weights * rng.random(k)
    upper = np.full(k, np.inf) if rng.random() < 0.5 else lower + 2 * rng.random(k)
    if rng.random() < 0.2:
        fixed = rng.random(k) < 0.3
        lower, upper = np.where(fixed, weights, lower), np.where(fixed, weights, upper)
    bounds = Bounds(
        lower=lower, upper=upper, always=np.arange(k), mass=float(weights.sum()) if rng.random() < 0.5 else None
    )
    problem = RefitProblem(
        matrix=sp.csr_array(matrix / size[:, None]),
        goal=goal / size,
        bounds=bounds,
        omega=rng.uniform(0.5, 2.0, q),
        cost=_COSTS[int(rng.integers(3))],
        ridge=rng.uniform(0.01, 1.0, k) if rng.random() < 0.5 else None,
    )
    return problem, weights * np.exp(0.5 * rng.standard_normal(k))


@pytest.mark.parametrize("block", range(10))
def test_it_holds_bounds_and_mass_and_is_never_worse_than_its_start(block: int) -> None:
    for seed in range(100 * block, 100 * block + 100):
        problem, start = _random(seed)
        bounds, weights = problem.bounds, refit(problem, start)
        assert (bounds.lower <= weights).all(), seed
        assert (weights <= bounds.upper).all(), seed
        if bounds.mass is not None and bounds.lower.sum() <= bounds.mass <= bounds.upper.sum():
            assert weights.sum() == pytest.approx(bounds.mass, rel=1e-9), seed
        allowed = problem.loss(bounds.project(start)) * (1 + 1e-9)
        assert problem.loss(weights) <= max(allowed, 1e-18 * float(problem.goal @ problem.goal)), seed


def _least_absolute(problem: RefitProblem) -> float:
    """Give the least sum of |e| over the bounds and the mass, by linear programming."""
    matrix, (q, k) = problem.matrix.toarray(), problem.matrix.shape
    solve: Any = linprog  # its stubs know no block matrices
    found = solve(
        np.concatenate([np.zeros(k), np.ones(q)]),
        A_ub=np.block([[matrix, -np.eye(q)], [-matrix, -np.eye(q)]]),
        b_ub=np.concatenate([problem.goal, -problem.goal]),
        A_eq=np.concatenate([np.ones(k), np.zeros(q)])[None],
        b_eq=[problem.bounds.mass],
        bounds=[*zip(problem.bounds.lower, problem.bounds.upper, strict=True), *[(0, None)] * q],
        method="highs",
    )
    return float(found.fun)


@pytest.mark.parametrize("seed", range(30))
def test_with_conserved_mass_absolute_errors_are_the_linear_program_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, k = 20, int(rng.integers(15, 60))
    matrix = rng.random((q, k)) * (rng.random((q, k)) < 0.4)
    goal = (matrix @ rng.exponential(size=k) + 0.1) * rng.uniform(0.8, 1.2, q)
    bounds = Bounds(lower=np.zeros(k), upper=np.full(k, 20.0), always=np.arange(k), mass=float(k))
    problem = RefitProblem(
        matrix=sp.csr_array(matrix / goal[:, None]), goal=np.ones(q), bounds=bounds, cost=CappedAbsolute(cap=1e6)
    )
    found, least = problem.loss(refit(problem, np.ones(k))), _least_absolute(problem)
    assert least - 1e-9 <= found <= least + 1e-4 * q  # a hundredth of a point in the mean; half a point is asked for
