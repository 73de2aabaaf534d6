"""The engine at the terminal: three commands, and refusals that are one line and exit code 2."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

from l0core.cli import app
from l0core.kinds import KINDS
from tests.problems import planted_findings, solved


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Give the paths of a matrix and of targets, and the option for design weights."""
    problem = solved().problem
    sp.save_npz(tmp_path / "M.npz", problem.matrix)
    np.save(tmp_path / "y.npy", problem.targets)
    np.save(tmp_path / "d.npy", problem.design_weights)
    return [str(tmp_path / "M.npz"), str(tmp_path / "y.npy"), "--weights", str(tmp_path / "d.npy")]


def test_fit_writes_the_files_and_prints_the_summary(files: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["fit", *files, "--budget", "20", "--epochs", "20", "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["n_active"] == 20
    assert np.count_nonzero(np.load(tmp_path / "out" / "calibration_weights.npy")) == 20


def test_check_prints_the_findings_and_the_address(files: list[str]) -> None:
    done = CliRunner().invoke(app, ["check", *files])
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["n_targets"], said["n_units"], said["findings"]) == (6, 60, [])
    assert len(said["sha256"]) == 64


def test_check_fails_where_a_target_cannot_be_met(tmp_path: Path) -> None:
    problem = planted_findings().problem
    sp.save_npz(tmp_path / "M.npz", problem.matrix)
    np.save(tmp_path / "y.npy", problem.targets)
    done = CliRunner().invoke(app, ["check", str(tmp_path / "M.npz"), str(tmp_path / "y.npy")])
    assert done.exit_code == 1
    assert {f["code"] for f in json.loads(done.stdout)["findings"]} >= {"no_support", "wrong_sign"}


def test_schema_prints_the_hyperparameters() -> None:
    done = CliRunner().invoke(app, ["schema", "calibration"])
    assert json.loads(done.stdout) == KINDS["calibration"].hyperparameters.model_json_schema()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget", "0"], "record_budget: Input should be greater than or equal to 1"),
        (["--epochs", "0"], "epochs"),
        (["--budget", "61"], "record_budget is 61, and only 60 units"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(
    files: list[str], arguments: list[str], words: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["fit", *files, "-o", str(tmp_path / "out"), *arguments])
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_kind_that_there_is_not_is_refused_with_those_there_are() -> None:
    done = CliRunner().invoke(app, ["schema", "cooking"])
    assert done.exit_code == 2
    assert "there is no kind 'cooking'; there are calibration" in done.stderr
