"""What is said of the commands: examples, exit codes, completion; and how little is loaded to say it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from l0core.assignments import completed
from service.commands import app
from service.terminal.completion import job_ids
from service.terminal.ends import MEANINGS
from tests.service.api.door import Door
from tests.service.api.endings import Finished

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "numba", "sqlalchemy", "celery", "fastapi", "httpx", "numpy", "scipy", "pyarrow"}
SILENT = {"api", "worker"}  # they print no result


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_in_its_help(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"]).stdout
    assert re.search(rf"Example: (L0_\S+ )?l0 {name}", " ".join(shown.split()))


@pytest.mark.parametrize("name", COMMANDS.keys() - SILENT)
def test_every_command_that_prints_a_result_takes_json(name: str) -> None:
    assert "--json" in [option for parameter in COMMANDS[name].params for option in parameter.opts]


def test_help_tells_the_exit_codes() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    for code, meaning in MEANINGS.items():
        assert re.search(rf"{code.value} +{re.escape(meaning)}", shown)


def test_the_page_tells_every_command_and_every_exit_code() -> None:
    page = (ROOT / "docs" / "terminal.md").read_text(encoding="utf-8")
    assert {name for name in COMMANDS if not re.search(rf"`l0 {name}\b", page)} == set()
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|", page, re.MULTILINE))
    assert rows == {str(code.value): meaning for code, meaning in MEANINGS.items()}


@pytest.mark.parametrize("arguments", [["--help"], ["submit", "--help"], ["version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        "from service.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) & HEAVY == set()


def test_names_of_hyperparameters_are_completed_and_then_their_words() -> None:
    names = [name for name, _ in completed("")]
    assert {"epochs=", "record_budget=", "loss="} <= set(names)
    assert [text for text, _ in completed("loss=sq")] == ["loss=relative", "loss=absolute_relative", "loss=squared"]
    assert [text for text, _ in completed("refit=")] == ["refit=true", "refit=false"]
    assert list(completed("nothing=")) == []


def test_ids_of_jobs_are_completed_where_a_service_answers(door: Door, finished: Finished) -> None:
    typed = {"url": str(door.http.base_url)}
    assert (finished.job_id, "succeeded evaluating") in job_ids(typed, finished.job_id[:12]) or [
        job_id for job_id, _ in job_ids(typed, finished.job_id)
    ] == [finished.job_id]
    assert job_ids(typed, "nothing") == []
    assert job_ids({"url": "http://127.0.0.1:1"}, "") == []


def test_the_shell_is_told_what_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"_L0_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "l0 submit M.npz y.npy -p record_b"}
    done = CliRunner().invoke(app, [], prog_name="l0", env=line)
    assert "record_budget=" in done.stdout
