"""`l0 demo`, as a newcomer runs it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.services import MARK, new_mark, wait_for_none

DEMO = [sys.executable, "-m", "service.cli", "demo"]


def test_the_demo_calibrates_minnesota_and_leaves_its_files(tmp_path: Path) -> None:
    mark = new_mark()
    output = tmp_path / "demo-output"
    done = subprocess.run(
        [*DEMO, "--output", str(output)],
        env={**os.environ, MARK: mark},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "SNAP benefit dollars" in done.stdout
    rows = list(csv.reader((output / "weights.csv").read_text().splitlines()))
    assert rows[0] == ["index", "weight"]
    assert 0 < len(rows) - 1 <= 500
    assert all(0 <= int(index) < 5460 and float(weight) > 0 for index, weight in rows[1:])
    assert json.loads((output / "run_config.json").read_text())["hyperparameters"]["record_budget"] == len(rows) - 1
    report = (output / "report.html").read_text()
    assert "<svg" in report
    assert "http://" not in report.replace("http://www.w3.org", "")
    assert wait_for_none(mark) == []


def test_the_demo_s_weights_meet_the_totals(tmp_path: Path) -> None:
    """Recomputed here from the two shipped files and the weights that were written."""
    import numpy as np

    from l0core.calibration.survey import read_survey

    subprocess.run([*DEMO, "--output", str(tmp_path)], check=True, capture_output=True, timeout=180)
    example = Path(__file__).parents[2] / "examples" / "minnesota_2022"
    survey = read_survey(example / "households.csv.gz", example / "targets_spec.csv")
    table = np.loadtxt(tmp_path / "weights.csv", delimiter=",", skiprows=1)
    weights = np.zeros(5460)
    weights[table[:, 0].astype(int)] = table[:, 1]
    error = np.abs(survey.matrix() @ weights - survey.values) / survey.values
    before = np.abs(survey.matrix() @ survey.weights() - survey.values) / survey.values
    assert error.mean() < 0.005 < before.mean()


@pytest.mark.parametrize("seconds", [0.1, 1.0, 2.5, 4.0, 6.0])
def test_ctrl_c_leaves_no_process_behind(seconds: float, tmp_path: Path) -> None:
    mark = new_mark()
    process = subprocess.Popen(
        [*DEMO, "--output", str(tmp_path)],
        env={**os.environ, MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    assert wait_for_none(mark) == []
