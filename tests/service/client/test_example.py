"""The notebook runs as it stands, and what it writes is right."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from service.client import Client
from tests.service.api.door import Door
from tests.service.client.conftest import working
from tests.service.jobs.waiting import until

ROOT = Path(__file__).parents[3]


def test_the_notebook_runs_from_its_first_cell_to_its_last(door: Door, client: Client, tmp_path: Path) -> None:
    notebook = subprocess.Popen(
        [sys.executable, ROOT / "examples" / "notebook.py"],
        cwd=tmp_path,
        env={**os.environ, "SERVICE_URL": client.address, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with notebook:
        (job,) = until(lambda: list(client.jobs(tags={"made": "in a notebook"})))
        with working(door.system, job["id"]):
            said, progress = notebook.communicate()
    assert notebook.returncode == 0, progress
    weights = np.load(tmp_path / "weights.npy")
    assert (weights.size, int(np.count_nonzero(weights))) == (5460, 400)
    assert "20 targets x 5,460 tax units" in said
    assert "400 units kept; mean error" in said
    assert "SNAP benefit dollars:" in said
    assert f"{job['id']} succeeded: epoch 500 of 500" in progress
    assert (tmp_path / "loss.svg").read_text(encoding="utf-8").count("<svg") == 1
