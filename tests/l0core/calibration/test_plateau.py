"""Early stopping: where a selection ends, which of its states it hands on, and what changes neither."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.calibration import select
from l0core.calibration.closing import check_distance
from l0core.calibration.fused_walk import FusedWalk
from l0core.calibration.objective import prepare, price_of_a_unit
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.plateau import PATIENCE, Plateau, Standing, travelled
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.calibration.walk import PlainWalk
from l0core.context import CheckpointPolicy, EpochReport, RunContext, Stopped
from tests.problems import conflicting, solved

OPTIONS: dict[str, Any] = {
    "epochs": 600,
    "lambda_l0": 0.01,
    "early_stopping": True,
    "refit": False,
    "selector": "gates",
}
NOISY: dict[str, Any] = {"gradient": "sampled", "learning_rate_schedule": "constant", "learning_rate": 0.3}
ABSOLUTE: dict[str, Any] = {"loss": "absolute_relative", "temperature_schedule": "cosine", "lambda_spread": 1e-3}
BUDGET: dict[str, Any] = {"lambda_l0": None, "record_budget": 8}


def _options(**changed: Any) -> CalibrationHyperparameters:
    return CalibrationHyperparameters(**(OPTIONS | changed))


def _run(options: CalibrationHyperparameters, context: RunContext | None = None) -> CalibrationResult:
    result = run(conflicting(), options, context or RunContext(seed=4))
    assert isinstance(result, CalibrationResult)
    return result


# What is known after each look.


def _seen(objectives: list[float], *, counting: bool = True) -> Plateau:
    plateau = Plateau()
    for number, objective in enumerate(objectives):
        theta = torch.full((2, 1), float(number))
        plateau = plateau.after(Standing(loss=objective, open=0), lambda: theta, price=1.0, counting=counting)  # noqa: B023
    return plateau


@settings(max_examples=50)
@given(objectives=st.lists(st.floats(0, 10), min_size=1))
def test_the_best_is_the_first_of_the_lowest(objectives: list[float]) -> None:
    best = _seen(objectives).best
    assert best is not None
    assert best.theta[0, 0] == objectives.index(min(objectives))


def test_a_plateau_is_so_many_looks_without_a_fall_of_a_thousandth() -> None:
    slow = [1 - 0.0001 * look for look in range(PATIENCE)]
    assert not _seen(slow).is_reached
    assert _seen([*slow, 1 - 0.0001 * PATIENCE]).is_reached
    assert not _seen([*slow, 0.9985]).is_reached
    assert not _seen([*slow, 1.0], counting=False).is_reached


def test_small_falls_that_add_up_are_progress() -> None:
    assert not _seen([1 - 0.0003 * look for look in range(100)]).is_reached


def test_states_are_compared_at_the_price_of_the_moment() -> None:
    few, many = Standing(loss=2.0, open=10), Standing(loss=1.0, open=30)
    plateau = Plateau().after(few, lambda: torch.zeros(2, 1), price=1.0)
    assert plateau.after(many, lambda: torch.ones(2, 1), price=1.0).best == plateau.best
    cheap = plateau.after(many, lambda: torch.ones(2, 1), price=0.01)
    assert cheap.best is not None
    assert cheap.best.standing == many


@pytest.mark.parametrize("cosine", [True, False])
def test_the_way_travelled_is_the_sum_of_the_learning_rates(cosine: bool) -> None:
    rates = [0.3 * (0.5 * (1 + math.cos(math.pi * e / 200)) if cosine else 1) for e in range(200)]
    for epoch in (0, 1, 77, 200):
        assert travelled(epoch, 200, 0.3, cosine=cosine) == pytest.approx(sum(rates[:epoch]), abs=0.3)


# Where a run ends, and with what.


def test_a_run_ends_where_it_no_longer_gets_better_and_says_so() -> None:
    reports: list[Any] = []
    result = _run(_options(epochs=3000), RunContext(seed=4, report=reports.append))
    last = [report for report in reports if isinstance(report, EpochReport)][-1]
    ended = result.summary["epochs"]
    assert PATIENCE * check_distance(3000) <= ended < 3000
    assert ended % check_distance(3000) == 0
    assert (last.epoch, last.epochs) == (ended, ended)
    assert result.history.steps[-1] == ended
    assert {report.epochs for report in reports if isinstance(report, EpochReport)} == {3000, ended}


@pytest.mark.parametrize("settings_", [{}, NOISY, NOISY | {"lambda_l2": 0.01}], ids=["calm", "noisy", "with-squares"])
def test_what_is_handed_on_is_the_best_of_the_states_that_were_looked_at(settings_: dict[str, Any]) -> None:
    """From the estimates and open gates of every look, which the history holds."""
    options = _options(**settings_)
    result = _run(options, RunContext(seed=4, log_every=check_distance(600)))
    objective, held = prepare(result.problem, options), result.history
    price = price_of_a_unit(objective, options)
    objectives = []
    for step, active, squares in zip(held.steps, held.metrics["active"], held.metrics["l2_penalty"], strict=True):
        errors = result.problem.relative_errors(held.snapshots[step])[objective.rows]
        objectives.append(float(objective.omega @ errors**2) + price * active + squares)
    best = int(np.argmin(objectives[1:])) + 1
    assert held.steps[best] < held.steps[-1]
    np.testing.assert_allclose(result.fit.estimates, held.snapshots[held.steps[best]], rtol=1e-6)
    assert result.summary["n_active"] == held.metrics["active"][best]


@pytest.mark.parametrize("settings_", [{}, NOISY, BUDGET], ids=["calm", "noisy", "budget"])
def test_how_often_it_is_logged_changes_nothing(settings_: dict[str, Any]) -> None:
    runs = [_run(_options(**settings_), RunContext(seed=4, log_every=every)) for every in (None, 1, 7, 600)]
    assert len({one.weights.tobytes() for one in runs}) == 1
    assert len({one.summary["epochs"] for one in runs}) == 1


@pytest.mark.parametrize("settings_", [{}, NOISY, BUDGET, ABSOLUTE], ids=["calm", "noisy", "budget", "absolute"])
def test_killed_and_resumed_it_ends_as_undisturbed(settings_: dict[str, Any], tmp_path: Path) -> None:
    options = _options(**settings_)
    whole = _run(options, RunContext(seed=4, checkpoints=CheckpointPolicy(folder=tmp_path / "whole")))
    own = CheckpointPolicy(folder=tmp_path / "own")
    context = RunContext(seed=4, checkpoints=own)
    for stop in (100, 31, 60):
        asked = iter(range(10_000))
        stopping = replace(context, should_stop=lambda asked=asked, stop=stop: next(asked) == stop)  # type: ignore[misc]
        assert isinstance(run(conflicting(), options, stopping), Stopped)
        context = replace(context, resume_from=own.path)
    resumed = _run(options, context)
    after = _run(options, replace(context, resume_from=tmp_path / "whole" / "checkpoint.safetensors"))
    for other in (resumed, after):
        assert (other.weights == whole.weights).all()
        assert other.history.steps == whole.history.steps
        assert other.history.metrics["loss"] == whole.history.metrics["loss"]


def test_a_run_that_goes_on_from_another_looks_at_its_own_states_alone(tmp_path: Path) -> None:
    first = CheckpointPolicy(folder=tmp_path / "first")
    for early in (False, True):
        _run(_options(early_stopping=early), RunContext(seed=4, checkpoints=first))
        options = _options(epochs=500, learning_rate_schedule="constant", learning_rate=0.2)
        second = _run(options, RunContext(seed=4, continue_from=first.path))
        assert PATIENCE * check_distance(500) < second.summary["epochs"] < 500


@pytest.mark.parametrize("settings_", [{}, BUDGET], ids=["price", "budget"])
def test_both_walks_end_at_the_same_epoch(settings_: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fused = _run(_options(**settings_))
    monkeypatch.setattr(select, "walk", PlainWalk)
    plain = _run(_options(**settings_))
    assert plain.summary["epochs"] == fused.summary["epochs"]
    assert plain.summary["n_active"] == fused.summary["n_active"]
    np.testing.assert_allclose(plain.fit.estimates, fused.fit.estimates, rtol=1e-3)


def test_a_fit_is_not_over_before_a_gate_could_have_closed() -> None:
    """Every target is met at the start: for two hundred epochs there is nothing to see but gates on their way."""
    met = solved()
    problem = CalibrationProblem.build(met.problem.matrix, met.problem.targets, initial_weights=met.weights)
    options = _options(epochs=1000, learning_rate=0.02, lambda_l0=0.01)
    result = run(problem, options, RunContext())
    assert isinstance(result, CalibrationResult)
    assert result.summary["n_active"] < met.weights.size
    assert result.summary["epochs"] > 350


def test_with_a_budget_nothing_is_the_best_before_its_goal_stands_still() -> None:
    result = _run(_options(**BUDGET))
    assert result.summary["n_active"] == 8
    assert result.summary["epochs"] >= 0.4 * 600 + PATIENCE * check_distance(600)


@pytest.mark.parametrize(("early", "looks"), [(False, 2), (True, 11)])
def test_only_early_stopping_costs_looks(early: bool, looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, measure = [0], FusedWalk.measure

    def counting(self: FusedWalk) -> Any:
        counted[0] += 1
        return measure(self)

    monkeypatch.setattr(FusedWalk, "measure", counting)
    _run(_options(early_stopping=early, epochs=100, learning_rate=0.01), RunContext(seed=4, log_every=100))
    assert counted[0] == looks
