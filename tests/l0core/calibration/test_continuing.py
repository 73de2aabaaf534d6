"""A new run that goes on from the checkpoint of another."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l0core.calibration.continuing import doubts, held_place
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, FindingReport, RunContext, Stopped
from l0core.errors import CheckpointIncompatible
from tests.problems import conflicting, solved

OPTIONS: dict[str, Any] = {
    "lambda_l0": 0.01,
    "learning_rate": 0.1,
    "init_keep_prob": 0.9,
    "refit": False,
    "selector": "gates",
}


def _options(**changed: Any) -> CalibrationHyperparameters:
    return CalibrationHyperparameters(**(OPTIONS | changed))


def _run(problem: CalibrationProblem, options: CalibrationHyperparameters, context: RunContext) -> CalibrationResult:
    result = run(problem, options, context)
    assert isinstance(result, CalibrationResult)
    return result


@pytest.mark.parametrize("gradient", ["expected", "sampled"])
def test_with_a_constant_rate_two_runs_are_one_of_all_their_epochs(gradient: str, tmp_path: Path) -> None:
    settings = {"gradient": gradient, "learning_rate_schedule": "constant"}
    policy = CheckpointPolicy(folder=tmp_path / "first")
    _run(conflicting(), _options(epochs=40, **settings), RunContext(seed=4, checkpoints=policy))
    second = _run(conflicting(), _options(epochs=9, **settings), RunContext(seed=4, continue_from=policy.path))
    whole = _run(conflicting(), _options(epochs=49, **settings), RunContext(seed=4))
    assert (second.weights == whole.weights).all()
    assert second.history.steps == list(range(10))
    assert second.history.metrics["loss"][-1] == whole.history.metrics["loss"][-1]


def test_the_schedules_stay_where_the_other_run_took_its_last_step(tmp_path: Path) -> None:
    def stopped_at(epoch: int, folder: Path) -> Path:
        calls = iter(range(10_000))
        policy = CheckpointPolicy(folder=folder)
        context = RunContext(seed=4, checkpoints=policy, should_stop=lambda: next(calls) == epoch)
        assert isinstance(run(conflicting(), _options(epochs=40), context), Stopped)
        return policy.path

    path = stopped_at(10, tmp_path / "first")
    policy = CheckpointPolicy(folder=tmp_path / "second")
    options = _options(epochs=7)
    second = _run(conflicting(), options, RunContext(seed=4, continue_from=path, checkpoints=policy, log_every=1))
    rate = 0.1 * 0.5 * (1 + math.cos(math.pi * 9 / 40))
    assert second.history.metrics["learning_rate"] == pytest.approx([rate] * 8)
    third = _run(conflicting(), _options(epochs=3), RunContext(seed=4, continue_from=policy.path, log_every=1))
    assert third.history.metrics["learning_rate"] == pytest.approx([rate] * 4)


@pytest.mark.parametrize("settings", [{}, {"lambda_l0": None, "record_budget": 5}])
def test_killed_and_resumed_it_ends_as_undisturbed(settings: dict[str, Any], tmp_path: Path) -> None:
    first = CheckpointPolicy(folder=tmp_path / "first")
    _run(conflicting(), _options(epochs=20, **settings), RunContext(seed=4, checkpoints=first))
    options = _options(epochs=30, learning_rate_schedule="constant", **settings)
    context = RunContext(seed=4, continue_from=first.path)
    undisturbed = _run(conflicting(), options, context)
    own, calls = CheckpointPolicy(folder=tmp_path / "second"), iter(range(10_000))
    stopped = run(conflicting(), options, replace(context, checkpoints=own, should_stop=lambda: next(calls) == 13))
    assert stopped == Stopped(epoch=13)
    resumed = _run(conflicting(), options, replace(context, checkpoints=own, resume_from=own.path))
    assert (resumed.weights == undisturbed.weights).all()
    assert resumed.history.metrics["loss"] == undisturbed.history.metrics["loss"]
    assert resumed.history.steps == undisturbed.history.steps


def test_what_changed_is_said_and_a_rate_as_good_as_none_too(tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    _run(conflicting(), _options(epochs=40), RunContext(seed=4, checkpoints=policy))
    reports: list[Any] = []
    context = RunContext(seed=4, continue_from=policy.path, report=reports.append)
    _run(conflicting(), _options(epochs=5, lambda_l0=0.02), context)
    found = [report for report in reports if isinstance(report, FindingReport) and report.code != "infeasible_set"]
    assert [(report.code, report.severity) for report in found] == [
        ("continued_with_changes", "warning"),
        ("schedule_ended", "warning"),
    ]
    assert "lambda_l0 0.01 -> 0.02" in found[0].message
    assert "epochs 40 -> 5" in found[0].message
    assert "seed" not in found[0].message


def test_the_same_settings_and_a_schedule_that_goes_on_are_no_doubts() -> None:
    assert list(doubts({"learning_rate": 0.1}, {"learning_rate": 0.1}, 0.1)) == []


@pytest.mark.parametrize(
    ("epoch", "epochs", "held_at", "expected"), [(0, 10, math.nan, 0.0), (10, 10, math.nan, 0.9), (3, 10, 0.5, 0.5)]
)
def test_the_place_held_is_that_of_the_last_step(epoch: int, epochs: int, held_at: float, expected: float) -> None:
    assert held_place(epoch, epochs, held_at) == expected


def test_a_checkpoint_of_another_problem_is_refused(tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    _run(conflicting(), _options(epochs=5), RunContext(seed=4, checkpoints=policy))
    with pytest.raises(CheckpointIncompatible, match="belongs to the problem"):
        run(solved().problem, _options(epochs=5), RunContext(seed=4, continue_from=policy.path))


def test_a_checkpoint_with_other_units_to_choose_from_is_refused(tmp_path: Path) -> None:
    problem = CalibrationProblem.build(np.ones((1, 3)), [3.0], initial_weights=[1.0, 1.0, 0.0])
    policy = CheckpointPolicy(folder=tmp_path)
    _run(problem, _options(epochs=5), RunContext(seed=4, checkpoints=policy))
    with pytest.raises(CheckpointIncompatible, match="has 2 units to choose from, and this run 3"):
        run(problem, _options(epochs=5, zero_prior="floor"), RunContext(seed=4, continue_from=policy.path))
