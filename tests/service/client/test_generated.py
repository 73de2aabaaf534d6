"""A client that a public generator makes of the OpenAPI document builds, imports, and walks the service."""

import importlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from service.problems.content_types import UPLOAD_CONTENT_TYPES
from tests.service.api.door import Door

CONFIG = {
    "package_name_override": "generated_client",
    "post_hooks": [],
    "content_type_overrides": {"application/x-npz": "application/octet-stream", "*/*": "application/octet-stream"},
}
PACKAGE = "generated_client"


@pytest.fixture(scope="module")
def folder(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the generated package."""
    there = tmp_path_factory.mktemp("generated")
    (there / "openapi.json").write_text(door.http.get("/openapi.json").text, encoding="utf-8")
    (there / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    options = {"path": "openapi.json", "config": "config.json", "output-path": "made"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate"),
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ],
        cwd=there,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (there / "said.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return there


@pytest.fixture
def client(door: Door, generated: Any) -> Iterator[Any]:
    """Its client."""
    with generated("client").Client(base_url=str(door.http.base_url), raise_on_unexpected_status=True) as opened:
        yield opened


@pytest.fixture
def generated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """What finds a module of the generated package by its name."""
    monkeypatch.syspath_prepend(folder / "made")
    yield lambda name: importlib.import_module(f"{PACKAGE}.{name}")
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def test_every_route_of_the_document_is_generated(folder: Path) -> None:
    document = json.loads((folder / "openapi.json").read_text(encoding="utf-8"))
    named = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    made = {path.stem for path in (folder / "made" / PACKAGE / "api").rglob("*.py")} - {"__init__"}
    assert made == named
    said = (folder / "said.txt").read_text(encoding="utf-8")
    unsupported = set(re.findall(r"^Unsupported content type (\S+)", said, re.MULTILINE))
    assert unsupported == set(UPLOAD_CONTENT_TYPES) - {"application/x-npz"}
    assert said.count("WARNING") == len(unsupported), said


def test_it_compiles_whole(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "compileall", "-q", "."],
        cwd=folder / "made",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_it_walks_from_an_upload_to_a_job_and_back(client: Any, generated: Any) -> None:
    models, types = generated("models"), generated("types")
    assert generated("api.system.healthz").sync(client=client).status == "ok"

    content = io.BytesIO()
    sp.save_npz(content, sp.csr_array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]))
    content.seek(0)
    upload = generated("api.uploads.create_upload").sync(client=client, body=types.File(payload=content))
    body = models.CalibrationProblem(
        kind="calibration",
        matrix=models.MatrixUpload(upload_id=upload.id),
        targets=[3.0, float(np.e)],
        target_names=["people", "snap"],
    )
    problem = generated("api.problems.create_problem").sync(client=client, body=body)
    assert (problem.kind, problem.n_targets, problem.n_units) == ("calibration", 2, 3)

    asked = models.CalibrationJob(
        kind="calibration",
        problem_id=problem.id,
        hyperparameters=models.CalibrationHyperparameters(record_budget=2, epochs=10),
    )
    job = generated("api.jobs.create_job").sync(client=client, body=asked, idempotency_key="once")
    again = generated("api.jobs.create_job").sync(client=client, body=asked, idempotency_key="once")
    seen = generated("api.jobs.get_job").sync(job.id, client=client)
    assert job.id == again.id == seen.id
    assert (seen.status, seen.hyperparameters.to_dict()["record_budget"]) == ("pending", 2)
    generated("api.jobs.cancel_job").sync(job.id, client=client)
    assert generated("api.jobs.get_job").sync(job.id, client=client).status == "cancelled"


def test_its_refusals_are_typed(client: Any, generated: Any) -> None:
    refused = generated("api.jobs.get_job").sync("job_nowhere", client=client)
    assert isinstance(refused, generated("models").Problem)
    assert (refused.status, refused.code) == (404, "not_found")
