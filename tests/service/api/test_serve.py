"""The API's process: small, without torch and scipy, and as small after what strangers send it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.db.migrate import upgrade
from service.jobs.values import Batch
from service.settings import Settings
from tests.service.api.door import Door, open_door, problem_body, refused, resident_bytes
from tests.service.api.endings import succeeded, target_row
from tests.service.problems.files import NPY, NPZ, csr_with

_MB = 2**20


@contextmanager
def _alone(folder: Path, broker_url: str) -> Iterator[Door]:
    """Serve in a process nobody else talks to."""
    settings = Settings(data_dir=folder, broker_url=broker_url)
    upgrade(settings.database)
    with open_door(settings) as door:
        yield door


def _some_of_everything(door: Door) -> None:
    problem_id = door.problem(matrix={"upload_id": door.upload(csr_with(), NPZ)})
    job = door.job(problem_id)
    rows = [target_row(index) for index in range(2)]
    succeeded(door.system, job["id"], weights=np.ones(3), batch=Batch(targets=rows, metrics=[(1, {"loss": 1.0})]))
    for path in job["links"].values():
        if path.startswith("/v1") and not path.endswith("/cancel"):
            assert door.http.get(path).status_code == 200
    assert door.http.get("/openapi.json").status_code == 200
    assert door.http.post(job["links"]["predictions"], json={"matrix": problem_body()["matrix"]}).status_code == 200


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Door]:
    with _alone(tmp_path_factory.mktemp("alone"), redis_url) as door:
        yield door


def test_the_process_stays_small_and_needs_no_engine(alone: Door) -> None:
    for _ in range(2):
        _some_of_everything(alone)
    assert resident_bytes(alone.pid) < 150 * _MB  # torch alone would be 270
    mapped = Path(f"/proc/{alone.pid}/maps").read_text(encoding="utf-8")
    assert [name for name in ("torch", "scipy", "numba") if f"/site-packages/{name}/" in mapped] == []
    assert "/site-packages/numpy/" in mapped  # this is how a loaded package shows


def test_an_upload_is_never_held_in_memory(alone: Door) -> None:
    before = resident_bytes(alone.pid)
    pieces = (bytes(_MB) for _ in range(100))
    assert alone.http.post("/v1/uploads", content=pieces, headers={"Content-Type": NPY}).status_code == 201
    assert resident_bytes(alone.pid) < before + 30 * _MB


def _growth(door: Door, *bodies: str) -> int:
    """Give by how much the process has grown once it has refused these."""
    before = resident_bytes(door.pid)
    for body in bodies:
        reply = door.http.post("/v1/problems", content=body, headers={"Content-Type": "application/json"})
        refused(reply, 422, "invalid_request")
    return resident_bytes(door.pid) - before


def test_a_list_full_of_faults_costs_little(alone: Door) -> None:
    assert _growth(alone, json.dumps(problem_body(targets=[""] * 250_000))) < 50 * _MB


def test_a_body_full_of_faults_costs_little(tmp_path: Path, redis_url: str) -> None:
    names = json.dumps(problem_body(target_names=[0] * 300_000))
    keys = json.dumps(problem_body() | {f"a{number}": 0 for number in range(80_000)})
    with _alone(tmp_path, redis_url) as door:
        assert _growth(door, names, keys) < 50 * _MB


_WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "scipy", "numba"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
import httpx
from service.api.app import create_app
from service.settings import Settings
from tests.service.api.door import InProcess, problem_body
http = httpx.Client(transport=InProcess(create_app(Settings())), base_url="http://localhost")
assert http.get("/v1/methods/calibration/schema").status_code == 200
assert http.get("/openapi.json").status_code == 200
reply = http.post("/v1/problems", json=problem_body())
assert reply.status_code == 201, reply.text
body = {"kind": "calibration", "problem_id": reply.json()["id"]}
assert http.post("/v1/jobs", json=body).status_code == 202
print([name for name in ("torch", "scipy", "numba") if name in sys.modules])
"""


def test_the_application_serves_where_torch_and_scipy_cannot_be_imported(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, broker_url=redis_url)
    upgrade(settings.database)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT],
        env={**settings.environment(), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.splitlines()[-1:], done.returncode) == (["[]"], 0), done.stderr
