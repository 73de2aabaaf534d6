"""The torch-free half of the package really opens without torch, and drags no service in."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

import l0core

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
    "l0core.calibration.partial",
    "l0core.calibration.diagnostics",
)
MODULES = {"calibration", "distributions", "gates", "layers", "penalties", "sparse"}  # as in l0-python
_UNWANTED = ("torch", "numba", "fastapi", "celery", "sqlalchemy", "redis")


def _loaded(statement: str) -> set[str]:
    report = (
        f"{statement}\nimport json, sys\nprint(json.dumps([name for name in {_UNWANTED!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_torch_free_modules_open_without_torch_or_any_server() -> None:
    assert _loaded(f"import {', '.join(TORCH_FREE)}") == set()


@pytest.mark.parametrize("module", ["l0core", "l0core.calibration"])
def test_importing_the_package_imports_neither_torch_nor_numpy(module: str) -> None:
    program = (
        f"import sys, {module}\nlisted = dir({module})\n"
        "assert not {'torch', 'numpy', 'scipy', 'rich'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [f"l0core.{n}" for n in l0core.__all__] + ["l0core.calibration.KIND"])
def test_every_name_that_is_offered_is_there(name: str) -> None:
    package, _, attribute = name.rpartition(".")
    found = getattr(import_module(package), attribute)
    if attribute != "KIND":
        assert found.__name__ == attribute
        assert found.__module__.startswith(f"{package}.")


@pytest.mark.parametrize("package", ["l0core", "l0core.calibration"])
def test_the_names_that_are_offered_are_listed_and_no_others_are_there(package: str) -> None:
    module = import_module(package)
    assert set(dir(module)) - set(module.__all__) == (MODULES if package == "l0core" else set())
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'SparseCalibration'"):
        module.SparseCalibration  # noqa: B018  # the access is what fails


def test_a_star_brings_every_name() -> None:
    names: dict[str, object] = {}
    exec("from l0core import *\nfrom l0core.calibration import *", names)
    assert {*l0core.__all__, "KIND"} <= set(names)
    assert names["SparseCalibrationWeights"] is l0core.SparseCalibrationWeights


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


def test_the_modules_are_there_without_imports_of_their_own() -> None:
    statement = (
        "import l0core; l0core.layers.L0Linear, l0core.gates.L0Gate, l0core.penalties.PenaltyTracker,"
        " l0core.sparse.SparseL0Linear, l0core.distributions.HardConcrete, l0core.calibration.SparseCalibrationWeights"
    )
    subprocess.run([sys.executable, "-c", statement], check=True)
