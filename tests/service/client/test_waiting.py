"""Waiting for a job, and what is shown of it meanwhile."""

import io
import json
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console

from service.client import JobFailed, JobNotEnded
from service.client.progress import bar, lines
from tests.service.client.flaky import DROPPED, Answer, flaky

HALF = {"epoch": 200, "epochs": 400, "loss": 0.25, "active": 1234.0, "mean_abs_relative_error": 0.05, "eta_seconds": 65}


def state(version: int, status: str = "running", stage: str = "selecting", **changed: Any) -> dict[str, Any]:
    whole = {"id": "job_1", "version": version, "status": status, "stage": stage, "progress": HALF, "error": None}
    return whole | changed


def answer(*args: Any, **kwargs: Any) -> Answer:
    return Answer(body=json.dumps(state(*args, **kwargs)).encode())


def test_every_change_is_told_once_over_broken_connections() -> None:
    answers = (answer(1, "pending"), answer(2), DROPPED, answer(2), answer(3, "succeeded"))
    told: list[int] = []
    with flaky(*answers) as (client, asked):
        client.job("job_1").wait(lambda now: told.append(now["version"]))
    assert told == [1, 2, 3]
    assert [one.path for one in asked[1:3]] == [f"/v1/jobs/job_1?wait=20.0&after_version={n}" for n in (1, 2)]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_end_without_a_result_is_told_and_raised(status: str) -> None:
    error = {"code": "diverged", "detail": "the loss is not finite"} if status == "failed" else None
    told: list[str] = []
    with flaky(answer(1, status, error=error)) as (client, _), pytest.raises(JobFailed) as caught:
        client.job("job_1").wait(lambda now: told.append(now["status"]))
    assert told == [status]
    assert str(caught.value) == f"job job_1 {status}: {'the loss is not finite' if error else status}"


def test_who_waits_no_longer_is_told_that_the_job_goes_on() -> None:
    with flaky(answer(1)) as (client, _), pytest.raises(TimeoutError) as caught:
        client.job("job_1").wait(timeout_seconds=0.05)
    assert isinstance(caught.value, JobNotEnded)
    assert str(caught.value) == "job job_1 has not ended in 0.05 s; it is running and goes on"
    assert caught.value.job["version"] == 1


def test_progress_is_told_in_lines_where_nobody_sees_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    answers = (answer(1, "pending", "queued", progress=None), answer(2), answer(3), answer(4, "succeeded", "saving"))
    with flaky(*answers) as (client, _):
        client.job("job_1").wait(progress=True)
    fit = "epoch 200 of 400, loss 0.25, 1,234 units, error 5.00%, 1:05 left"
    said = capsys.readouterr()
    assert said.err.splitlines() == ["job_1 queued", f"job_1 selecting: {fit}", f"job_1 succeeded: {fit}"]
    assert said.out == ""


def test_a_stage_is_told_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 109.9, 110.1, 110.1])
    monkeypatch.setattr("service.client.progress.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    show = lines(stream)
    for _ in range(3):
        show(state(1))
    assert len(stream.getvalue().splitlines()) == 2


def test_a_bar_shows_epochs_loss_units_error_and_time_left() -> None:
    stream = io.StringIO()
    with bar(console=Console(file=stream, force_terminal=True, width=160)) as show:
        show(state(1, progress=None, stage="queued"))
        show(state(2))
    drawn = stream.getvalue()
    assert "selecting" in drawn
    for part in ("200/400", "loss 0.25", "1,234 units", "error 5.00%", "1:05 left"):
        assert part in drawn


def test_a_bar_without_rich_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['rich'] = sys.modules['rich.console'] = None\n"
        "import service.client\n"
        "from service.client.progress import bar\n"
        "try:\n    bar().__enter__()\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 'pip install "l0-calibration[terminal]"' in done.stdout
