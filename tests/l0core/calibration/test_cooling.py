"""The temperature's way, and the run that goes it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from l0core import hard_concrete as hc
from l0core.calibration.cooling import HOTTER, SHARE, STEPS, settled, temperature
from l0core.calibration.descent import Gates
from l0core.calibration.fused_walk import FusedWalk
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, RunContext
from l0core.penalties import TemperatureScheduler
from tests.problems import conflicting

SCHEDULES = ("exponential", "linear", "cosine")


def _run(context: RunContext, **settings: Any) -> CalibrationResult:
    options = CalibrationHyperparameters(**({"lambda_l0": 0.01, "refit": False} | settings))
    result = run(conflicting(), options, context)
    assert isinstance(result, CalibrationResult)
    return result


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_it_falls_in_equal_steps_along_the_schedule_of_the_library(schedule: str) -> None:
    anneal = TemperatureScheduler(HOTTER * 0.35, 0.35, STEPS, schedule)
    for step in range(STEPS + 1):
        for within in (0.01, 0.99):
            place = (step + within) / STEPS * SHARE
            assert temperature(0.35, schedule, place) == anneal.get_temperature(step)
    assert temperature(0.35, schedule, 0.0) == pytest.approx(0.7)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("epochs", [1, 7, 100, 1001])
def test_every_run_ends_at_beta_after_twenty_temperatures_at_most(schedule: str, epochs: int) -> None:
    way = [temperature(0.35, schedule, epoch / epochs) for epoch in range(epochs + 1)]
    assert way[-1] == 0.35
    assert all(after <= before for before, after in pairwise(way))
    assert len(set(way)) <= STEPS + 1
    assert {t for epoch, t in enumerate(way) if epoch / epochs >= settled(schedule)} == {0.35}


def test_a_constant_temperature_is_beta_and_is_settled_from_the_start() -> None:
    assert {temperature(0.5, "constant", place / 7) for place in range(8)} == {0.5}
    assert settled("constant") == 0


def test_the_history_shows_the_temperature_in_force() -> None:
    result = _run(RunContext(log_every=1), epochs=50, temperature_schedule="linear")
    assert result.history.metrics["temperature"] == [temperature(0.35, "linear", e / 50) for e in range(51)]


def test_the_gates_handed_on_are_sharp_and_counted_as_such() -> None:
    result = _run(RunContext(), epochs=400, learning_rate=0.3, temperature_schedule="exponential", lambda_l0=0.1)
    assert result.summary["n_active"] == result.history.metrics["active"][-1]
    assert 0 < result.summary["n_active"] < 40


def test_gates_are_made_once_a_temperature_and_not_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    made, anneal = [], FusedWalk.anneal

    def counted(self: FusedWalk, gates: Gates, shape: hc.GateShape) -> None:
        made.append(shape.beta)
        anneal(self, gates, shape)

    monkeypatch.setattr(FusedWalk, "anneal", counted)
    _run(RunContext(), epochs=200, temperature_schedule="linear")
    assert made == [temperature(0.35, "linear", step / STEPS * SHARE + 1e-9) for step in range(1, STEPS + 1)]
    _run(RunContext(), epochs=200)
    assert len(made) == STEPS


def test_a_run_that_goes_on_from_another_stays_at_its_temperature(tmp_path: Path) -> None:
    asked = iter(range(1000))
    policy = CheckpointPolicy(folder=tmp_path)
    options = CalibrationHyperparameters(lambda_l0=0.01, epochs=100, temperature_schedule="cosine")
    run(conflicting(), options, RunContext(checkpoints=policy, should_stop=lambda: next(asked) == 20))
    there = temperature(0.35, "cosine", 0.19)
    second = _run(RunContext(continue_from=policy.path, log_every=1), epochs=10, temperature_schedule="cosine")
    assert second.history.metrics["temperature"] == [there] * 11
    assert there > 0.35
