"""The house rules that a program can hold: who may import whom, one home for a concept, pages that match the code."""

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import l0core
from service.local import local_service
from service.settings import Settings
from service.terminal.addresses import KEY_VARIABLE, URL_VARIABLE

ROOT = Path(__file__).parents[1]
PRODUCT = ("l0core", "service", "worker")

BREACHES = {
    "a door imports the other": ("service/api/routes/health.py", "import worker.execution"),
    "the service imports the worker": ("service/jobs/queue.py", "import worker.tasks"),
    "the engine imports the web": ("l0core/context.py", "import fastapi"),
    "the service reaches torch through the engine": ("service/jobs/results.py", "import l0core.calibration.select"),
    "the worker reaches torch through the engine": ("worker/execution.py", "import l0core.calibration.run"),
    "the application imports a web framework": ("service/jobs/views.py", "import starlette"),
    "the problems import the jobs": ("service/problems/intake.py", "import service.jobs.lifecycle"),
    "a kind imports the list of kinds": ("l0core/calibration/problem.py", "import l0core.kinds"),
    "a cycle": ("l0core/calibration/diagnostics.py", "import l0core.calibration.result"),
}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy_of_the_house(tmp_path: Path) -> Path:
    for name in PRODUCT:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_the_import_rules_is_found(breach: str, copy_of_the_house: Path) -> None:
    path, line = BREACHES[breach]
    module = copy_of_the_house / path
    module.write_text(f"{module.read_text()}\n{line}\n")
    done = lint_imports(copy_of_the_house)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


def test_the_import_rules_are_kept(copy_of_the_house: Path) -> None:
    done = lint_imports(copy_of_the_house)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module", ["service.api.app", "service.supervisor", "worker.app", "service.client", "l0core.kinds"]
)
def test_it_opens_without_torch(module: str) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; sys.modules['numba'] = None\n"
        f"import {module}\n"
        "from service.settings import Settings\n"
        "if 'service.api.app' in sys.modules: sys.modules['service.api.app'].create_app(Settings())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def sources() -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for name in PRODUCT
        for path in (ROOT / name).rglob("*.py")
    }


def test_untrusted_bytes_are_parsed_in_one_place() -> None:
    readers = re.compile(r"\bnp\.load\(|load_npz\(|np\.lib\.format\.read|pickle\.load")
    found = {
        path for path, text in sources().items() if path.startswith(("service", "worker")) and readers.search(text)
    }
    assert found <= {"service/problems/trusted.py", "service/client/results.py", "service/client/packages.py"}


def test_nothing_is_printed_outside_the_terminal() -> None:
    printing = re.compile(r"^\s*print\(", re.MULTILINE)
    assert [path for path, text in sources().items() if printing.search(text)] == []


def test_every_setting_that_is_named_anywhere_exists() -> None:
    files = [
        ROOT / "docker-compose.yml",
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "docker").rglob("*"),
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())
    named = set(re.findall(r"\bL0_([A-Z_]+[A-Z])\b", text))
    known = {name.upper() for name in Settings.model_fields}
    known |= {name.removeprefix("L0_") for name in (URL_VARIABLE, KEY_VARIABLE)}  # of the terminal, no setting of ours
    assert named - known == set()


def test_the_generated_pages_are_what_the_code_says() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


def test_the_readme_names_only_commands_that_exist() -> None:
    commands = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text(encoding="utf-8")))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert commands
    assert commands <= targets


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real service, for the programs that need one."""
    with local_service(tmp_path_factory.mktemp("house") / "data") as url:
        yield url


def said_by(program: str, address: str, folder: Path) -> list[str]:
    """Run a program of a page against a real service; gives the lines it prints."""
    program = program.replace("http://127.0.0.1:8000", address)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def programs_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_readme_s_program_runs(address: str, tmp_path: Path) -> None:
    """The ten lines against the HTTP API, on a real service."""
    (program,) = programs_of(ROOT / "README.md")
    kept, error = said_by(program, address, tmp_path)[-1].split()
    assert kept == "100"
    assert float(error) < 1e-6


def test_the_session_of_the_client_s_page_runs(address: str, tmp_path: Path) -> None:
    lines = said_by("\n".join(programs_of(ROOT / "docs" / "client.md")), address, tmp_path)
    kept, worst = lines[0].split()
    assert kept == "100"
    assert float(worst) < 1e-6
    assert lines[-1] == "[100, 50]"
    assert {path.name for path in tmp_path.iterdir()} == {"loss.svg", "report.html"}


@pytest.mark.parametrize("name", l0core.__all__)
def test_every_public_name_of_the_library_has_an_example_that_is_run(name: str) -> None:
    documented = getattr(l0core, name).__doc__ or ""
    assert ">>> " in documented
    assert len(documented.strip().splitlines()) > 3


_WEBHOOKS_ARE_TOLD_APART = """
from ipaddress import ip_network
from threading import Thread
from service.webhooks.sending import post
from service.webhooks.signing import signed_headers

BODY = b'{"data": {"id": "job_1", "status": "succeeded"}}'

def answer(*, body=BODY, age=0, keys=("whsec_b3RoZXI=", SECRET)):
    headers = signed_headers("msg_1", int(time.time()) - age, BODY, keys)
    return post(f"http://127.0.0.1:{server.server_port}/", body, headers, networks=(ip_network("127.0.0.0/8"),))

Thread(target=server.serve_forever, daemon=True).start()
assert [answer(), answer(), SEEN] == [204, 204, {"msg_1"}]
assert [answer(body=b"{}"), answer(age=400), answer(keys=["whsec_b3RoZXI="])] == [400, 400, 400]
"""
PROGRAMS = {
    "choosing-units.md, selectors": (
        "choosing-units.md",
        0,
        "assert losses['auto'] == losses['matching_pursuit'] <= losses['gates'] and result.summary['n_active'] == 12",
    ),
    "classical-calibration.md, weights": (
        "classical-calibration.md",
        0,
        "for weights in (greg, raked, bounded):\n    np.testing.assert_allclose(matrix @ weights, totals, rtol=1e-9)",
    ),
    "classical-calibration.md, a job": (
        "classical-calibration.md",
        1,
        "assert result.summary['n_active'] == 1000 and result.summary['max_abs_relative_error'] < 1e-9",
    ),
    "diagnostics.md, by family": (
        "diagnostics.md",
        0,
        "import math\nassert [(r['label'], r['holdout']) for r in rows][:2] == [('people', False), ('people', True)]\n"
        "assert math.isclose(sum(r['loss'] for r in rows if not r['holdout']), result.loss, rel_tol=1e-12)",
    ),
    "engine.md, a job": (
        "engine.md",
        0,
        "assert result.summary['n_active'] == 100 and result.summary['mean_abs_relative_error'] < 1e-6",
    ),
    "engine.md, several prices": (
        "engine.md",
        1,
        "counts = [r.summary['n_active'] for r in results]\nassert 1000 >= counts[0] > counts[-1] > 0",
    ),
    "formats.md, every format": (
        "formats.md",
        0,
        "from pathlib import Path\nfrom l0core.matrices import canonical\n"
        "from service.problems import content_types, formats\n"
        "from service.problems.limits import Limits\nfrom service.settings import Settings\n"
        "kinds = dict(zip(('npz', 'npy', 'mtx', 'parquet', 'tensors'), content_types.UPLOAD_CONTENT_TYPES))\n"
        "for kind, data in {**{k: f.getvalue() for k, f in files.items()}, 'tensors': tensors}.items():\n"
        "    Path(kind).write_bytes(data)\n"
        "    read = formats.read_matrix(Path(kind), kinds[kind], Limits.of(Settings()), '/matrix')\n"
        "    assert (canonical(read)[0] != M).nnz == 0, kind",
    ),
    "library.md, survey weights": (
        "library.md",
        0,
        "assert 0 < active['count'] <= N and model.predict(M).shape == (Q,) and len(model.history.steps) == 20",
    ),
    "library.md, a network": (
        "library.md",
        1,
        "assert small[0].out_features < 64\ntorch.testing.assert_close(small(inputs), net.eval()(inputs))",
    ),
    "library.md, samples and features": (
        "library.md",
        2,
        "assert (rows.shape, columns.shape, mixed.shape) == ((1000, 1000), (10000, 50), (2000, 1000))",
    ),
    "losses.md, a cap": (
        "losses.md",
        0,
        "assert np.abs(capped.fit.relative_errors[:20]).max() < 1e-3 and capped.summary['past_cap'] == 1\n"
        "assert np.abs(squared.fit.relative_errors[:2]).min() > 0.1",
    ),
    "lower-bound.md, two in conflict": (
        "lower-bound.md",
        0,
        "assert abs(optimum.loss - 0.0045) < 1e-4 and set(np.argsort(-optimum.prices)[:2].tolist()) == {0, 20}",
    ),
    "pruning.md, a network": (
        "pruning.md",
        0,
        "parameters, accuracy = result.summary['parameters'], result.summary['accuracy']\n"
        "assert parameters['dense'] == 1603 and abs(parameters['kept'] - 160) <= 16\n"
        "assert accuracy['compact']['holdout'] > 0.9",
    ),
    "refit.md, bounds": (
        "refit.md",
        0,
        "assert (result.weights[[7, 8, 9]] > 0).all() and result.summary['n_active'] == 300\n"
        "assert abs(result.weights.sum() / design.sum() - 1) < 1e-9\n"
        "assert (result.weights / design).max() <= 20 * (1 + 1e-12)\n"
        "assert result.summary['max_abs_relative_error'] < 1e-6",
    ),
    "sampling.md, units": (
        "sampling.md",
        0,
        "assert result.summary['n_active'] == 200 and result.summary['n_random'] == 50\n"
        "assert abs(result.weights.sum() / design.sum() - 1) < 1e-6\n"
        "assert set(result.selection['type'].tolist()) == {'l0', 'random'}",
    ),
    "sampling.md, columns": (
        "sampling.md",
        1,
        "assert result.selection['index'].tolist() == [3, 17, 60] and len(result.explained.intercepts) == 1",
    ),
    "webhooks.md, a receiver": ("webhooks.md", 0, _WEBHOOKS_ARE_TOLD_APART),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_of_the_pages_run_as_written(name: str, tmp_path: Path) -> None:
    page, number, check = PROGRAMS[name]
    command = [sys.executable, "-c", f"{programs_of(ROOT / 'docs' / page)[number]}\n{check}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_program_of_the_pages_is_run() -> None:
    written = {
        (page.name, number)
        for page in (ROOT / "docs").glob("*.md")
        if page.name != "client.md"  # a session, run whole
        for number, _ in enumerate(programs_of(page))
    }
    assert written == {(page, number) for page, number, _ in PROGRAMS.values()}
