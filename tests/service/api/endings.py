"""Jobs that have ended: one the engine really ran, one told by a worker of the test's own with any numbers we like."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.kinds import KINDS
from service.jobs import lifecycle
from service.jobs.values import ArtifactRef, Batch, Claim, WorkerIdentity
from service.problems.trusted import npy_bytes
from service.system import System
from tests.service.api.door import Door, job_body, problem_body
from tests.service.problems.files import NPY, NPZ, npy, npz
from worker.execution import execute
from worker.identity import identity

WORKER = WorkerIdentity(id="wrk_test", host="here", queues=("cpu", "gpu"), device="cpu")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A job the engine has run, and the numbers it was given."""

    job_id: str
    problem_id: str
    matrix: NDArray[np.float64]
    targets: NDArray[np.float64]
    names: list[str]
    groups: list[int]
    holdout: list[bool]

    @property
    def url(self) -> str:
        """Where the job is."""
        return f"/v1/jobs/{self.job_id}"


def really_run(door: Door) -> Finished:
    """Calibrate 12 targets over 80 units for real: engine, child process, artifacts and all."""
    draw = np.random.default_rng(3)
    matrix = draw.random((12, 80)) * (draw.random((12, 80)) < 0.6)
    targets = matrix @ draw.uniform(0.5, 1.5, 80)
    names = [f"target {i}" for i in range(10)] + ["=1+1", "caf\u00e9 \U0001f600 <b>"]
    groups, holdout = [i // 4 for i in range(12)], [i % 5 == 4 for i in range(12)]
    body = problem_body(
        matrix={"upload_id": door.upload(npz(_csr(matrix)), NPZ)},
        targets={"upload_id": door.upload(npy(targets), NPY)},
        target_names=names,
        target_groups=groups,
        holdout=holdout,
    )
    problem_id = door.http.post("/v1/problems", json=body).json()["id"]
    hyperparameters = {"record_budget": 30, "epochs": 300}
    job = door.http.post("/v1/jobs", json=job_body(problem_id, hyperparameters=hyperparameters, seed=5)).json()
    execute(job["id"], door.system, identity(door.system.settings), threading.Event())
    return Finished(
        job_id=job["id"],
        problem_id=problem_id,
        matrix=matrix,
        targets=targets,
        names=names,
        groups=groups,
        holdout=holdout,
    )


def _csr(matrix: NDArray[np.float64]) -> object:
    import scipy.sparse as sp

    return sp.csr_array(matrix)


def claimed(system: System, job_id: str) -> Claim:
    """Take a pending job as a worker would."""
    with system.database.transaction() as session:
        held = lifecycle.claim(session, job_id, WORKER, KINDS, lease=60)
    assert held is not None
    return held


def told(system: System, held: Claim, batch: Batch) -> None:
    """Report a batch as a worker would."""
    with system.database.transaction() as session:
        lifecycle.report(session, held, batch, lease=60)


def succeeded(
    system: System, job_id: str, *, weights: NDArray[np.float64], batch: Batch, files: dict[str, bytes] | None = None
) -> str:
    """End a pending job well, with these weights, reports and further files; gives its id."""
    held = claimed(system, job_id)
    contents = {"calibration_weights.npy": npy_bytes(weights), **(files or {})}
    artifacts = [_stored(system, held, name, data) for name, data in contents.items()]
    with system.database.transaction() as session:
        assert lifecycle.succeed(session, held, batch, {"loss": 0.5}, artifacts)
    return job_id


def _stored(system: System, held: Claim, name: str, data: bytes) -> ArtifactRef:
    key = f"jobs/{held.job_id}/{held.token[:12]}/{name}"
    path = system.store.scratch() / name
    path.write_bytes(data)
    system.store.put(key, path)
    return ArtifactRef(
        name=name,
        storage_key=key,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        content_type="text/html; charset=utf-8" if Path(name).suffix == ".html" else "application/octet-stream",
    )


def target_row(index: int, **changed: Any) -> dict[str, Any]:
    """Give a target row as the engine reports it."""
    row = {
        "index": index,
        "name": f"target_{index}",
        "value": float(index),
        "initial_estimate": index + 1.0,
        "estimate": index + 0.5,
        "relative_error": 0.5,
        "abs_relative_error": 0.5,
        "group": None,
        "holdout": False,
        "price": None,
    }
    return row | changed
