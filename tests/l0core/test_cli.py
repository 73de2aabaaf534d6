"""The engine at the terminal: three commands, tables or JSON, and refusals that are one line and exit code 2."""

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
    done = CliRunner().invoke(app, ["fit", *files, "--budget", "20", "--epochs", "20", *_to(tmp_path), "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["n_active"] == 20
    assert np.count_nonzero(np.load(tmp_path / "out" / "calibration_weights.npy")) == 20


def _to(folder: Path) -> list[str]:
    return ["-o", str(folder / "out")]


def test_fit_says_how_it_was_and_how_it_is(files: list[str], tmp_path: Path) -> None:
    asked = ["-p", "record_budget=20", "-p", "epochs=2e1", "-p", "loss=squared"]
    done = CliRunner().invoke(app, ["fit", *files, *asked, *_to(tmp_path)])
    assert done.exit_code == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["result", "before", "after"]
    assert ["units", "60", "20"] in rows
    assert str(tmp_path / "out" / "report.html") in done.stderr
    config = json.loads((tmp_path / "out" / "run_config.json").read_text())["hyperparameters"]
    assert (config["epochs"], config["loss"]) == (20, "squared")


def test_check_prints_the_findings_and_the_address(files: list[str]) -> None:
    done = CliRunner().invoke(app, ["check", *files, "--json"])
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["n_targets"], said["n_units"], said["findings"]) == (6, 60, [])
    assert len(said["sha256"]) == 64


def test_check_fails_where_a_target_cannot_be_met(tmp_path: Path) -> None:
    problem = planted_findings().problem
    sp.save_npz(tmp_path / "M.npz", problem.matrix)
    np.save(tmp_path / "y.npy", problem.targets)
    done = CliRunner().invoke(app, ["check", str(tmp_path / "M.npz"), str(tmp_path / "y.npy"), "--json"])
    assert done.exit_code == 1
    assert {f["code"] for f in json.loads(done.stdout)["findings"]} >= {"no_support", "wrong_sign"}


def test_check_is_a_row_a_finding_that_names_its_target(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "M.npz", sp.csr_array([[1.0, 1.0], [0.0, 0.0]]))
    np.save(tmp_path / "y.npy", [2.0, 5.0])
    (tmp_path / "names.txt").write_text("all\n[red]nobody[/red]\n")
    paths = [str(tmp_path / name) for name in ("M.npz", "y.npy", "names.txt")]
    done = CliRunner().invoke(app, ["check", *paths[:2], "--names", paths[2]])
    assert done.exit_code == 1
    head, row = done.stdout.splitlines()
    assert head.split() == ["severity", "code", "what"]
    assert row.startswith("error     no_support")
    assert "[red]nobody[/red]" in row
    assert "2 targets x 2 units, findings: 1 of severity error" in done.stderr


def test_schema_prints_the_hyperparameters() -> None:
    done = CliRunner().invoke(app, ["schema", "calibration", "--json"])
    assert json.loads(done.stdout) == KINDS["calibration"].hyperparameters.model_json_schema()


def test_schema_is_a_row_a_hyperparameter() -> None:
    lines = CliRunner().invoke(app, ["schema"]).stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(KINDS["calibration"].hyperparameters.model_fields)
    assert lines[0].split() == ["name", "default", "range", "meaning"]
    (loss,) = (line for line in lines if line.startswith("loss "))
    assert "relative, absolute_relative, squared" in loss


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "record_budget=0"], "record_budget: Input should be greater than or equal to 1"),
        (["-p", "loss=love"], "loss: Input should be 'relative', 'absolute_relative' or 'squared'"),
        (["-p", "epochs=5", "--epochs", "5"], "epochs is given twice"),
        (["-p", "learning_rate=1e999"], "learning_rate: Input should be a valid number"),
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
