"""A child's log in its worker's: structured lines as they were, other text as text, never more than a budget."""

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from worker import relay
from worker.relay import Relay

LINE = {
    "event": "problem_loaded",
    "level": "warning",
    "process": "engine",
    "timestamp": "2026",
    "job_id": "x",
    "nnz": 3,
}


def relayed(path: Path) -> list[dict[str, Any]]:
    """Relay the whole file for a job of ours."""
    context = structlog.contextvars.bound_contextvars(job_id="job_1", attempt=2)
    with context, capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        Relay(path).end()
    return [dict(line) for line in logged]


def test_a_structured_line_keeps_its_time_and_is_of_the_worker_s_job(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(json.dumps(LINE) + "\n")
    (line,) = relayed(tmp_path / "log")
    assert line == {
        "event": "problem_loaded",
        "log_level": "warning",
        "process": "engine",
        "timestamp": "2026",
        "job_id": "job_1",
        "attempt": 2,
        "nnz": 3,
    }


@pytest.mark.parametrize(
    "text",
    [
        "Fatal Python error: Segmentation fault",
        '{"event": "job_succeeded"}',
        json.dumps(LINE | {"process": "api"}),
        json.dumps(LINE | {"level": "loud"}),
        json.dumps(LINE | {"level": 3}),
        json.dumps(LINE | {"event": [1]}),
        "[1]",
        "3",
        "[" * 100_000,
    ],
)
def test_anything_else_is_a_text(text: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text)
    lines = relayed(tmp_path / "log")
    assert {(line["event"], line["job_id"]) for line in lines if line["event"] != "engine_log_cut"} == {
        ("engine_printed", "job_1")
    }
    assert "".join(line.get("line", "") for line in lines) == text


def test_bytes_that_are_no_text_and_a_last_line_without_end_are_passed_on(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfe\n\nlast")
    assert [line["line"] for line in relayed(tmp_path / "log")] == ["\ufffd\ufffd", "last"]


def test_what_comes_later_is_passed_on_later_and_a_line_in_two_pieces_is_one(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb", buffering=0) as file, capture_logs() as logged:
        following = Relay(tmp_path / "log")
        file.write(b"first\nsec")
        assert following.pass_on()
        assert not following.pass_on()
        file.write(b"ond\n")
        following.end()
    assert [line["line"] for line in logged] == ["first", "second"]


def test_a_flood_is_cut_once_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_MOST_BYTES", 1000)
    (tmp_path / "log").write_text("a line of text\n" * 100_000)
    events = [line["event"] for line in relayed(tmp_path / "log")]
    assert events.count("engine_log_cut") == 1
    assert len(events) < 1000
