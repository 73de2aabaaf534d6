"""The torch-free half of the package really opens without torch, and drags no service in."""

import json
import subprocess
import sys

import pytest

TORCH_FREE = (
    "l0core",
    "l0core.kinds",
    "l0core.kind",
    "l0core.errors",
    "l0core.context",
    "l0core.inputs",
    "l0core.matrices",
    "l0core.canonical",
    "l0core.calibration",
    "l0core.calibration.problem",
    "l0core.calibration.options",
    "l0core.calibration.findings",
    "l0core.calibration.objective",
    "l0core.calibration.diagnostics",
)
_UNWANTED = ("torch", "numba", "fastapi", "celery", "sqlalchemy", "redis")


def _loaded(statement: str) -> set[str]:
    report = (
        f"{statement}\nimport json, sys\nprint(json.dumps([name for name in {_UNWANTED!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_torch_free_modules_open_without_torch_or_any_server() -> None:
    assert _loaded(f"import {', '.join(TORCH_FREE)}") == set()


def test_a_problem_can_be_posted_and_its_findings_read_without_torch() -> None:
    statement = (
        "from l0core.kinds import KINDS\n"
        "problem = KINDS['calibration'].problem_type().build(matrix=[[1.0, 2.0]], targets=[3.0])\n"
        "problem.findings, problem.sha256, KINDS['calibration'].hyperparameters.model_json_schema()"
    )
    assert _loaded(statement) == set()


@pytest.mark.parametrize("statement", ["from l0core.kinds import KINDS; KINDS['calibration'].engine()"])
def test_torch_begins_at_the_engine_and_no_server_ever(statement: str) -> None:
    assert _loaded(statement) <= {"torch", "numba"}
