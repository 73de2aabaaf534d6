"""Losses other than the square: their tangents against their definition, and the selection against known answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.calibration.objective import Objective, prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.reweighing import expected_loss, mean_squares, rounding, tangents
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, RunContext
from tests.problems import arbitrary, conflicting

ABSOLUTE: dict[str, Any] = {"loss": "absolute_relative", "refit": False}


def _objective(seed: int, cap: float) -> Objective:
    return prepare(arbitrary(seed), CalibrationHyperparameters(**ABSOLUTE, loss_cap=cap))


def _run(problem: CalibrationProblem, context: RunContext | None = None, **settings_: Any) -> CalibrationResult:
    options = CalibrationHyperparameters(**(ABSOLUTE | {"init_keep_prob": 0.9999, "lambda_l0": 0.0} | settings_))
    result = run(problem, options, context or RunContext(seed=2))
    assert isinstance(result, CalibrationResult)
    return result


seeds, caps = st.integers(0, 2**31), st.sampled_from([0.01, 0.3, 1.0, 10.0])


@settings(deadline=None, max_examples=50)
@given(seed=seeds, cap=caps, spread=st.sampled_from([0.01, 1.0, 100.0]))
def test_the_tangent_touches_the_loss_where_it_is_drawn_and_is_nowhere_below_it(
    seed: int, cap: float, spread: float
) -> None:
    objective, rng = _objective(seed, cap), np.random.default_rng(seed)
    here = spread * rng.lognormal(0, 2, objective.omega.size)
    slope = objective.omega * tangents(objective, here, 1.0)
    at_rest = np.where(here > cap**2, 0, slope)  # past the cap it leads back, which no tangent does
    at_rest = np.where(here < rounding(1.0) ** 2, 0, at_rest)
    kept = (at_rest > 0).astype(float)
    for _ in range(20):
        there = spread * rng.lognormal(0, 2, here.size)
        tangent = at_rest * (there - here) + kept * objective.omega * objective.cost.of_square(here)
        loss = kept * objective.omega * objective.cost.of_square(there)
        assert (tangent >= loss - 1e-12 * (1 + loss)).all()
    step = 1e-6 * here
    rise = objective.cost.of_square(here + step) - objective.cost.of_square(here - step)
    np.testing.assert_allclose(at_rest * 2 * step, kept * objective.omega * rise, rtol=1e-4, atol=1e-15)


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_mean_squares_are_those_of_gates_that_are_drawn(seed: int) -> None:
    objective, rng = _objective(seed, 10.0), np.random.default_rng(seed)
    n, draws = objective.n_candidates, 20_000
    w, likely = rng.lognormal(0, 1, n), rng.random(n)
    dense = objective.plain.toarray()
    drawn = rng.random((draws, n)) < likely
    errors = (objective.factor * (drawn @ (dense * w).T) - objective.goal) / np.sqrt(objective.omega)
    found = mean_squares(objective, dense @ (w * likely), w**2 * likely * (1 - likely))
    noise = 6 * (errors**2).std(axis=0) / np.sqrt(draws)
    assert (np.abs(found - (errors**2).mean(axis=0)) <= noise + 1e-9).all()
    sampled = float((objective.omega * objective.cost.value(errors)).sum(axis=1).mean())
    assert sampled <= expected_loss(objective, found) * 1.02


@pytest.mark.parametrize("cap", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_rows_within_the_rounding_count_alike_and_others_by_their_errors(cap: float, place: float) -> None:
    objective = _objective(1, cap)
    tip = min(rounding(place), cap / 2)
    within = tangents(objective, np.full(objective.omega.size, (0.5 * tip) ** 2), place)
    np.testing.assert_allclose(within, 1 / (2 * rounding(place)), rtol=1e-12)
    beyond = tangents(objective, np.full(objective.omega.size, (1.5 * tip) ** 2), place)
    np.testing.assert_allclose(beyond, within / 1.5, rtol=1e-12)
    past = tangents(objective, np.full(objective.omega.size, (2 * cap) ** 2), place)
    assert (past > 0).all()
    assert (past < 0.01 * within).all()


@pytest.mark.parametrize("gradient", ["expected", "sampled"])
def test_alike_totals_that_differ_are_met_at_their_median(gradient: str) -> None:
    problem = CalibrationProblem.build(
        np.ones((5, 1)), [1.0, 2.0, 3.0, 9.0, 50.0], initial_weights=[20.0], target_scales=np.ones(5)
    )
    assert _run(problem, gradient=gradient, loss_cap=100.0).weights[0] == pytest.approx(3.0, rel=0.03)
    assert _run(problem, gradient=gradient, loss="squared").weights[0] == pytest.approx(13.0, rel=0.03)


def test_a_target_past_its_cap_comes_back_where_nothing_speaks_against_it() -> None:
    problem = CalibrationProblem.build(np.eye(2), [50.0, 2.0])
    np.testing.assert_allclose(_run(problem, loss_cap=0.5).weights, [50.0, 2.0], rtol=0.02)


def test_a_target_past_its_cap_gives_way_to_those_that_can_be_met() -> None:
    problem = CalibrationProblem.build(np.ones((3, 1)), [2.0, 2.01, 50.0], target_scales=np.ones(3))
    assert _run(problem, loss_cap=1.0).weights[0] == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("gradient", ["expected", "sampled"])
def test_the_loss_reported_is_that_of_the_errors_and_not_of_the_tangents(gradient: str) -> None:
    """With gates that are open beyond doubt the expected loss is the loss itself."""
    problem = conflicting()
    result = _run(problem, RunContext(seed=2, log_every=10), epochs=100, gradient=gradient, loss_cap=0.15)
    objective = prepare(problem, result.options)
    held = result.history
    for at, step in enumerate(held.steps):
        errors = problem.relative_errors(held.snapshots[step])
        expected = float(objective.omega @ np.minimum(np.abs(errors), 0.15))
        assert held.metrics["data_loss"][at] == pytest.approx(expected, rel=0.02, abs=0.01)
        assert held.metrics["mean_abs_relative_error"][at] == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    assert held.metrics["loss"][-1] == pytest.approx(result.loss, rel=0.02, abs=0.01)


def test_gates_close_though_every_target_can_be_met() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.random((12, 400)) * (rng.random((12, 400)) < 0.3)
    problem = CalibrationProblem.build(matrix, matrix @ rng.lognormal(0, 1, 400))
    result = _run(problem, lambda_l0=0.03, init_keep_prob=0.999, learning_rate=0.3)
    assert result.summary["n_active"] < 100
    assert result.summary["mean_abs_relative_error"] < 0.05


def test_a_run_goes_on_from_one_of_another_loss(tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    for loss in ("relative", "absolute_relative"):
        _run(conflicting(), RunContext(seed=2, checkpoints=policy), loss=loss, epochs=100)
        constant = {"learning_rate_schedule": "constant", "learning_rate": 0.01}
        second = _run(conflicting(), RunContext(seed=2, continue_from=policy.path), epochs=100, **constant)
        assert second.loss < 0.99 * second.history.metrics["data_loss"][0] or loss == "absolute_relative"
