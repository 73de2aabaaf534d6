"""What a finished calibration says of itself."""

from pathlib import Path

import numpy as np
import pytest

from l0core.calibration import KIND
from l0core.calibration.objective import prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, RunContext
from tests.problems import by_hand, solved


@pytest.fixture
def result(tmp_path: Path) -> CalibrationResult:
    context = RunContext(seed=5, checkpoints=CheckpointPolicy(folder=tmp_path / "state"))
    found = run(by_hand(), CalibrationHyperparameters(epochs=10, record_budget=2), context)
    assert isinstance(found, CalibrationResult)
    return found


def test_the_summary_adds_the_losses_and_the_epochs_to_the_diagnostics(result: CalibrationResult) -> None:
    objective = prepare(result.problem, result.options)
    assert result.summary["loss"] == pytest.approx(objective.loss(result.weights[objective.units]))
    assert result.summary["selection_loss"] == result.selection_loss
    assert (result.summary["epochs"], result.summary["n_active"]) == (10, 2)


def test_there_is_a_row_for_every_target(result: CalibrationResult) -> None:
    estimates = [row["estimate"] for row in result.target_rows()]
    assert estimates == result.problem.estimates(result.weights).tolist()


def test_it_knows_whose_it_is(result: CalibrationResult) -> None:
    assert result.identity.problem_sha256 == result.problem.sha256
    assert result.identity.seed == 5
    assert CalibrationHyperparameters(**result.identity.hyperparameters) == result.options


def test_the_artifacts_written_are_the_artifacts_declared(result: CalibrationResult, tmp_path: Path) -> None:
    artifacts = result.write(tmp_path / "out")
    assert {a.name for a in artifacts} == set(KIND.artifacts)
    assert all(a.path.is_file() and a.path.parent == tmp_path / "out" for a in artifacts)
    assert KIND.weights in {a.name for a in artifacts}


def test_units_that_were_not_kept_have_exactly_zero() -> None:
    found = run(solved().problem, CalibrationHyperparameters(epochs=20, record_budget=7), RunContext())
    assert isinstance(found, CalibrationResult)
    assert np.count_nonzero(found.weights) == 7
    assert found.weights.shape == (60,)
    assert found.weights.dtype == np.float64
