"""What a process writes to standard error: JSON objects, one a line, whoever speaks; no line tells a secret."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "hunter2"
FORGED = 'target\n{"event": "job_succeeded", "job_id": "job_forged", "level": "info"}\r\n\u2028next'
PROGRAM = f"""
import logging, threading, warnings
from service.db.session import Database
from service.logging import configure, log
from service.settings import Settings

url = "postgresql+psycopg://l0:{PASSWORD}@nowhere.invalid/l0"
broker_url = "redis://:{PASSWORD}@nowhere.invalid/0"
configure(Settings(database_url=url, broker_url=broker_url), process="tried", worker="wrk_1")
forged = {FORGED!r}
log.info("said", text=forged, nested=[{{forged: forged}}], settings=Settings(database_url=url), half="\\ud800")
log.info(forged)
logging.getLogger("kombu.connection").error("cannot reach %s\\n%s", "redis://:{PASSWORD}@nowhere.invalid/0", forged)
logging.getLogger("sqlalchemy.engine").info("a detail")
logging.getLogger("uvicorn.error").warning("said %s", forged, extra={{"color_message": forged}})
warnings.warn(forged)
log.info("long", text="x" * 10**6)

def fails(password):
    raise ValueError("no connection with password=" + password)

def told():
    fails("{PASSWORD}")

thread = threading.Thread(target=told)
thread.start()
thread.join()
try:
    told()
except ValueError:
    log.error("caught", exc_info=True)
    logging.getLogger("asyncio").exception("caught elsewhere")
told()
"""


@pytest.fixture(scope="module")
def written() -> str:
    """What a process with much to say has written."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    return done.stderr.decode("ascii")


@pytest.fixture(scope="module")
def lines(written: str) -> list[dict[str, Any]]:
    """The same, read as JSON."""
    return [json.loads(line) for line in written.splitlines()]


def test_whoever_speaks_each_line_is_an_object_with_time_level_and_process(lines: list[dict[str, Any]]) -> None:
    events = [line["event"].split("\n")[0].split(" ")[0] for line in lines]
    warned = "<string>:16:"
    assert events == [
        *("said", "target", "cannot", "said", warned, "long"),
        *("uncaught_exception", "caught", "caught", "uncaught_exception"),
    ]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    assert {(line["process"], line["worker"]) for line in lines} == {("tried", "wrk_1")}
    assert lines == sorted(lines, key=lambda line: line["timestamp"])
    assert [line.get("logger") for line in lines[2:5]] == ["kombu.connection", "uvicorn.error", "py.warnings"]
    assert [line["level"] for line in lines[2:5]] == ["error", "warning", "warning"]


def test_what_a_client_sends_begins_no_line_of_its_own(lines: list[dict[str, Any]]) -> None:
    assert [line for line in lines if "job_id" in line] == []
    assert lines[0]["text"] == FORGED
    assert lines[1]["event"] == FORGED


def test_no_password_and_no_local_variable_is_written(written: str, lines: list[dict[str, Any]]) -> None:
    assert PASSWORD not in written
    assert "redis://:***@nowhere.invalid/0" in lines[2]["event"]
    (raised,) = lines[-1]["exception"]
    assert (raised["exc_type"], raised["exc_value"]) == ("ValueError", "no connection with password=***")
    assert [frame["name"] for frame in raised["frames"]] == ["<module>", "told", "fails"]
    assert '"locals"' not in written


def test_a_long_text_is_cut(lines: list[dict[str, Any]]) -> None:
    (line,) = (line for line in lines if line["event"] == "long")
    assert line["text"].endswith("x... (1000000 characters)")
    assert len(line["text"]) < 5000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_of_logs_ends_no_process() -> None:
    program = (
        "import logging; from service.logging import configure, log; from service.settings import Settings\n"
        "configure(Settings(), process='tried')\n"
        "for _ in range(10_000): log.info('said'); logging.warning('said')\n"
        "import os; os.write(1, b'went on')\n"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.stdout == b"went on"


def test_a_migration_logs_in_the_same_form(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "L0_DATA_DIR": str(tmp_path),
        "L0_DATABASE_URL": "postgresql+psycopg://l0@/l0?host=/no",
    }
    command = [sys.executable, "-m", "service.cli", "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["event"], line["process"]) == ("uncaught_exception", "migrate")
