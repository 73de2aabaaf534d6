"""The weights in a checkpoint: those the run's own numbers of that epoch are about, over all units of the problem."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from l0core.arrays import FloatArray
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.partial import WEIGHTS, weights_in
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, EpochReport, Report, RunContext, Stopped
from l0core.errors import CheckpointIncompatible, Diverged
from tests.problems import conflicting, explosive

BETA, GAMMA, ZETA = 0.5, -0.1, 1.1
SELECTIVE = {"learning_rate": 0.5, "lambda_l0": 0.3}


def _options(**settings: Any) -> CalibrationHyperparameters:
    return CalibrationHyperparameters(**({"epochs": 40, "beta": BETA, "gamma": GAMMA, "zeta": ZETA} | settings))


def _by_hand(path: Path) -> FloatArray:
    """Give exp(log_weight) clip(sigmoid(a / beta) (zeta - gamma) + gamma, 0, 1) of a checkpoint's candidates."""
    held = load_file(path)
    log_weight, log_alpha = (held[name].astype(np.float64) for name in ("log_weight", "log_alpha"))
    gates = np.clip((ZETA - GAMMA) / (1 + np.exp(-log_alpha / BETA)) + GAMMA, 0, 1)
    return np.asarray(np.exp(log_weight) * gates)


@pytest.mark.parametrize("gradient", ["expected", "sampled"])
def test_what_the_run_said_of_an_epoch_is_said_of_the_weights_in_its_checkpoint(gradient: str, tmp_path: Path) -> None:
    problem, told, held = conflicting(), dict[int, dict[str, float]](), dict[int, FloatArray]()

    def report(event: Report) -> None:
        if isinstance(event, EpochReport):
            told[event.epoch] = event.metrics

    def saved(path: Path, epoch: int) -> None:
        held[epoch] = weights_in(path)
        np.testing.assert_allclose(held[epoch], _by_hand(path), rtol=1e-5, atol=1e-5)

    policy = CheckpointPolicy(folder=tmp_path, every_epochs=1, saved=saved)
    run(problem, _options(gradient=gradient, **SELECTIVE), RunContext(log_every=1, report=report, checkpoints=policy))
    assert list(held) == list(range(1, 41))
    assert 0 < np.count_nonzero(held[40]) < problem.n_units
    for epoch, weights in held.items():
        errors = np.abs(problem.relative_errors(problem.estimates(weights)))[~problem.holdout]
        assert np.count_nonzero(weights) == told[epoch]["active"]
        assert errors.mean() == pytest.approx(told[epoch]["mean_abs_relative_error"], rel=1e-4)


def _stopped(problem: CalibrationProblem, folder: Path) -> Path:
    """Stop a run before its first step; gives its checkpoint."""
    policy = CheckpointPolicy(folder=folder)
    assert isinstance(run(problem, _options(), RunContext(checkpoints=policy, should_stop=lambda: True)), Stopped)
    return policy.path


def test_units_that_are_no_candidates_have_the_weight_0(tmp_path: Path) -> None:
    problem = CalibrationProblem.build(
        [[1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 2.0]], [6.0, 9.0], initial_weights=[2.0, 0.0, 1.0, 2.0]
    )
    path = _stopped(problem, tmp_path)
    weights = weights_in(path)
    assert weights.dtype == np.float64
    assert (weights > 0).tolist() == [True, False, False, True]
    np.testing.assert_allclose(weights[[0, 3]], _by_hand(path), rtol=1e-5)


def test_every_checkpoint_of_a_run_that_diverges_has_finite_weights(tmp_path: Path) -> None:
    held: list[FloatArray] = []
    policy = CheckpointPolicy(folder=tmp_path, every_epochs=1, saved=lambda path, _: held.append(weights_in(path)))
    options = CalibrationHyperparameters(epochs=100, learning_rate=5.0, lambda_l0=1e-9, gradient="sampled")
    with pytest.raises(Diverged):
        run(explosive(), options, RunContext(log_every=50, checkpoints=policy))
    assert held
    assert np.isfinite(held).all()


def test_a_checkpoint_of_an_older_engine_says_that_it_has_none_and_is_resumed_all_the_same(tmp_path: Path) -> None:
    path, older = _stopped(conflicting(), tmp_path), tmp_path / "older.safetensors"
    with safe_open(path, framework="np") as file:
        header = file.metadata()
    save_file({name: array for name, array in load_file(path).items() if name != WEIGHTS}, older, metadata=header)
    with pytest.raises(CheckpointIncompatible, match="kept no weights"):
        weights_in(older)
    assert not isinstance(run(conflicting(), _options(), RunContext(resume_from=older)), Stopped)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointIncompatible, match="not a checkpoint"):
        weights_in(path)
