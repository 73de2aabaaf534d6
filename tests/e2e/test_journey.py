"""The walk of a PolicyEngine backend through the HTTP surface, as `journey.py` takes it, on Minnesota."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from l0core.calibration.survey import read_survey
from service.local import local_service

JOURNEY = Path(__file__).parent / "journey.py"
EXAMPLE = Path(__file__).parents[2] / "examples" / "minnesota_2022"


@pytest.fixture
def minnesota(tmp_path: Path) -> Path:
    """The matrix, totals and design weights, built from the two files that are shipped."""
    survey = read_survey(EXAMPLE / "households.csv.gz", EXAMPLE / "targets_spec.csv")
    sp.save_npz(tmp_path / "M.npz", sp.csr_array(survey.matrix()))
    np.save(tmp_path / "y.npy", survey.values)
    np.save(tmp_path / "init_weights.npy", survey.weights())
    return tmp_path


def test_every_promise_of_the_journey_is_kept(minnesota: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with local_service(tmp_path_factory.mktemp("journey")) as url:
        command = [sys.executable, str(JOURNEY), url, str(minnesota)]
        walked = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert "all promises kept" in walked.stdout
