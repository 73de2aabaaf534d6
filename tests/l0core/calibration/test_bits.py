"""The same seed gives the same bits: on one thread and two, in one piece or killed again and again."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from l0core.calibration.closing import REMOVED

PROGRAM = """
import hashlib, json, sys
from pathlib import Path
import numpy as np, scipy.sparse as sp
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, EpochReport, RunContext

settings, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
rng = np.random.default_rng(5)
matrix = sp.random_array((90, 9000), density=0.3, rng=rng, format="csr")  # enough nonzeros for a second thread
problem = CalibrationProblem.build(matrix, matrix @ rng.lognormal(0, 1, 9000))

def told(report):
    if isinstance(report, EpochReport):
        print("epoch", report.epoch, flush=True)

for number, log_every in enumerate(json.loads(sys.argv[3])):
    policy = CheckpointPolicy(folder=folder / str(number), every_epochs=7)
    policy.folder.mkdir(parents=True, exist_ok=True)
    context = RunContext(
        seed=3,
        report=told,
        log_every=log_every,
        checkpoints=policy,
        resume_from=policy.path if policy.path.exists() else None,
    )
    result = run(problem, CalibrationHyperparameters(**settings), context)
    curves = [result.history.steps, {k: v for k, v in result.history.metrics.items() if k != "epoch_seconds"}]
    weights = hashlib.sha256(result.weights.tobytes()).hexdigest()
    print("weights", weights, result.summary["n_active"], hashlib.sha256(json.dumps(curves).encode()).hexdigest())
"""
SETTINGS = {
    "expected": '{"lambda_share": 3.0, "epochs": 120, "learning_rate": 0.3, "init_keep_prob": 0.8}',
    "sampled": '{"gradient": "sampled", "record_budget": 700, "epochs": 120, "learning_rate": 0.3}',
}


def _started(settings: str, folder: Path, *, threads: int = 2, log_every: str = "[1]") -> subprocess.Popen[str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, settings, str(folder), log_every],
        env=os.environ | dict.fromkeys(names, str(threads)),
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate()
    assert process.returncode == 0
    return output.splitlines()


@pytest.mark.parametrize("kind", SETTINGS)
def test_one_thread_or_two_and_however_often_it_is_logged(kind: str, tmp_path: Path) -> None:
    runs = {1: "[1]", 2: "[1, null]"}
    told = [
        _end(_started(SETTINGS[kind], tmp_path / str(threads), threads=threads, log_every=log_every))
        for threads, log_every in runs.items()
    ]
    on_one, on_two, seldom_logged = (line.split() for lines in told for line in lines if line.startswith("weights"))
    assert on_one == on_two  # weights, their number and the curves
    assert on_one[:3] == seldom_logged[:3]


@pytest.mark.parametrize("kind", SETTINGS)
def test_killed_at_random_epochs_and_resumed_it_ends_as_undisturbed(kind: str, tmp_path: Path) -> None:
    undisturbed = _end(_started(SETTINGS[kind], tmp_path / "undisturbed"))
    closed = load_file(tmp_path / "undisturbed" / "0" / "checkpoint.safetensors")["closed"]
    assert (closed == REMOVED).any()  # on the way
    epochs = sorted(random.Random(kind).sample(range(5, 118), 2))
    for epoch in epochs:
        process = _started(SETTINGS[kind], tmp_path / "disturbed")
        assert process.stdout is not None
        while not process.stdout.readline().startswith(f"epoch {epoch}\n"):
            assert process.poll() is None
        process.kill()
        process.communicate()
    resumed = _end(_started(SETTINGS[kind], tmp_path / "disturbed"))
    first = int(resumed[0].split()[1])
    assert 0 < first <= epochs[-1]
    assert resumed[-1] == undisturbed[-1]
    assert resumed == undisturbed[first:]  # line N tells of epoch N
