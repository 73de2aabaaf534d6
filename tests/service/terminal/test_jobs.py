"""l0 jobs, job, watch, log, cancel, retry, delete: what is shown of a job, and the exit code of each kind of end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service.jobs import lifecycle
from service.jobs.values import Batch, Failure
from tests.service.api.door import Door
from tests.service.api.endings import Finished, claimed, succeeded
from tests.service.terminal.scripted import answering
from tests.service.terminal.typed import L0

INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
from service.cli import main
main()
"""


@pytest.fixture
def failed_id(door: Door, job_id: str) -> str:
    held = claimed(door.system, job_id)
    failure = Failure(code="diverged", detail="the loss is no number any more.")
    with door.system.database.transaction() as session:
        assert lifecycle.fail(session, held, Batch(), failure, door.system.dispatcher)
    return job_id


def test_the_list_is_a_row_a_job_however_narrow_the_terminal(l0: L0, finished: Finished, job_id: str) -> None:
    lines = l0("jobs", "--limit", "500").stdout.splitlines()
    assert lines[0].split() == ["id", "status", "stage", "progress", "loss", "active", "error", "age", "tags"]
    by_id = {line.split()[0]: line.split() for line in lines[1:]}
    assert by_id[job_id][:2] == [job_id, "pending"]
    assert by_id[finished.job_id][1:3] == ["succeeded", "100%"]
    assert by_id[finished.job_id][4] == "30"


def test_a_list_that_was_asked_for_by_tag_holds_nothing_else(l0: L0, door: Door) -> None:
    ids = [door.job(door.listed_problem(), tags={"of": "this test"})["id"] for _ in range(3)]
    found = l0("jobs", "--tag", "of=this test", "--status", "pending", "--kind", "calibration", "--json").json
    assert [job["id"] for job in found] == ids[::-1]
    done = l0("jobs", "--tag", "of=this test", "--limit", "2")
    assert len(done.stdout.splitlines()) == 3
    assert "the newest 2; --limit 20 shows more" in done.stderr
    none = l0("jobs", "--tag", "of=no test")
    assert (none.code, none.stdout) == (0, "")
    assert "no jobs" in none.stderr
    assert l0("jobs", "--tag", "of=no test", "--json").json == []


def test_a_text_in_a_tag_is_shown_as_it_is_and_moves_no_cursor(l0: L0, door: Door) -> None:
    door.job(door.listed_problem(), tags={"odd": "[red]x[/red]\x1b[2J"})
    assert "odd=[red]x[/red]?[2J" in l0("jobs").stdout


def test_a_job_is_shown_as_the_service_tells_it(l0: L0, door: Door, finished: Finished) -> None:
    assert l0("job", finished.job_id, "--json").json == door.http.get(finished.url).json()
    shown = l0("job", finished.job_id).stdout
    assert "asked for     epochs=300, record_budget=30" in shown
    assert "units 80 30" in " ".join(shown.split())


def test_a_job_is_watched_to_its_end(l0: L0, door: Door, job_id: str) -> None:
    def end() -> None:
        time.sleep(0.3)
        succeeded(door.system, job_id, weights=np.ones(3), batch=Batch())

    worker = threading.Thread(target=end)
    worker.start()
    done = l0("watch", job_id)
    worker.join()
    assert (done.code, done.stdout.splitlines()[-1].split()) == (0, ["loss", "0.5"])  # the worker here logs as well
    *stages, last, weights = done.stderr.splitlines()
    assert stages
    assert last == "succeeded"
    assert weights == f"the weights: l0 weights {job_id} -o weights.csv"


def test_the_result_of_a_watched_job_is_what_it_was_and_what_it_is(l0: L0, finished: Finished) -> None:
    rows = [line.split() for line in l0("watch", finished.job_id).stdout.splitlines()]
    assert rows[0] == ["result", "before", "after"]
    assert ["units", "80", "30"] in rows


def test_watch_as_json_is_a_state_a_line(l0: L0, finished: Finished) -> None:
    (state,) = l0("watch", finished.job_id, "--json").lines
    assert (state["id"], state["status"]) == (finished.job_id, "succeeded")


def _state(**changed: Any) -> dict[str, Any]:
    state: dict[str, Any] = {
        "id": "job_1",
        "status": "running",
        "stage": "selecting",
        "version": 1,
        "cancel_requested_at": None,
        "stalled": False,
        "progress": {"epoch": 5, "epochs": 10, "loss": 0.5, "active": 7.0, "mean_abs_relative_error": 0.1},
        "summary": None,
        "error": None,
    }
    return state | changed


def test_a_service_that_restarts_meanwhile_is_waited_for() -> None:
    with answering(_state(), None, 502, 502, _state(version=2, status="succeeded")) as (url, asked):
        done = L0(url)("watch", "job_1", "--json")
    assert done.code == 0
    assert [state["version"] for state in done.lines] == [1, 2]
    assert len(asked) == 5
    assert done.stderr.splitlines() == [
        "selecting: 5/10  units 7  loss 0.5  error 10.00%",
        "the service does not answer; asking again for 120 seconds",
        "the service answers again",
        "succeeded: 5/10  units 7  loss 0.5  error 10.00%",
    ]


def test_submit_with_wait_ends_as_the_job_ends(files: list[str]) -> None:
    ended = _state(status="cancelled", version=2)
    made = {"id": "prb_1", "n_targets": 1, "n_units": 1, "findings": []}
    upload = {"id": "upl_1"}
    with answering(upload, upload, made, _state(), _state(), ended) as (url, _):
        done = L0(url)("submit", *files, "--wait", "--json")
    assert done.code == 5
    assert done.json == ended


def test_a_failed_job_is_exit_code_1_with_the_reason(l0: L0, failed_id: str) -> None:
    done = l0("watch", failed_id)
    assert (done.code, done.stdout) == (1, "")
    assert f"error: job {failed_id} has failed: the loss is no number any more; `l0 log {failed_id}`" in done.stderr
    assert l0("watch", failed_id, "--json").lines[-1]["error"]["code"] == "diverged"
    assert "error         diverged: the loss is no number any more." in l0("job", failed_id).stdout


def test_a_cancelled_job_is_exit_code_5(l0: L0, job_id: str) -> None:
    assert l0("cancel", job_id, "--json").json["status"] == "cancelled"
    done = l0("watch", job_id)
    assert done.code == 5
    assert f"error: job {job_id} was cancelled" in done.stderr


@pytest.mark.parametrize("command", ["job", "watch", "log", "cancel", "retry", "weights", "targets", "download"])
def test_a_job_that_there_is_not_is_exit_code_4(l0: L0, command: str) -> None:
    said = l0.refused(4, command, "job_nowhere")
    assert said == "there is no job 'job_nowhere'; `l0 jobs` lists the jobs there are"


def test_no_service_is_exit_code_3() -> None:
    said = L0("http://127.0.0.1:1").refused(3, "jobs")
    assert said == (
        "nobody answers at http://127.0.0.1:1; start the service with `l0 up`, or name another one with --url or L0_URL"
    )


@pytest.mark.parametrize("url", ["localhost:8000", "http://", "ftp://x", "http://[", "http://x:99999"])
def test_an_address_that_is_none_is_exit_code_2(url: str) -> None:
    said = L0(url).refused(2, "jobs")
    assert said == f"'{url}' is no address of a service; write it as http://127.0.0.1:8000"


@pytest.mark.parametrize("job_id", ["a/b", "", "..", "x" * 65, "job_1?wait=3"])
def test_an_id_that_is_none_is_exit_code_2(l0: L0, job_id: str) -> None:
    assert l0.refused(2, "job", job_id) == f"'{job_id}' is no id; `l0 jobs` lists the jobs there are"


def test_what_cannot_be_done_to_a_job_is_exit_code_1(l0: L0, finished: Finished, job_id: str) -> None:
    assert "has already succeeded; `l0 job JOB`" in l0.refused(1, "cancel", finished.job_id)
    assert "cancel it first" in l0.refused(1, "delete", job_id, "--yes")


@pytest.fixture
def watching(door: Door, job_id: str) -> Iterator["subprocess.Popen[str]"]:
    """A `l0 watch` in a process of its own, which is at it."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "watch", job_id],
        env={**os.environ, "L0_URL": str(door.http.base_url)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline()
        yield process
        process.kill()


def test_ctrl_c_is_exit_code_130_and_leaves_the_job(watching: "subprocess.Popen[str]", door: Door, job_id: str) -> None:
    watching.send_signal(signal.SIGINT)
    stdout, stderr = watching.communicate(timeout=30)
    assert (watching.returncode, stdout) == (130, "")
    said = stderr.splitlines()[-1]
    assert said == f"error: no longer watching; the job goes on, `l0 cancel {job_id}` stops it"
    assert door.http.get(f"/v1/jobs/{job_id}").json()["status"] == "pending"


def test_the_log_is_a_line_an_event(l0: L0, door: Door, finished: Finished) -> None:
    events = door.http.get(f"{finished.url}/events").json()["data"]
    assert l0("log", finished.job_id, "--json").lines == events
    lines = l0("log", finished.job_id, "--follow").stdout.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [f"{each['type']}: {each['message']}" for each in events]


def test_a_log_is_followed_until_the_job_has_ended(l0: L0, door: Door, job_id: str) -> None:
    def end() -> None:
        time.sleep(0.3)
        door.http.post(f"/v1/jobs/{job_id}/cancel")

    ending = threading.Thread(target=end)
    ending.start()
    types = [event["type"] for event in l0("log", job_id, "--follow", "--json").lines]
    ending.join()
    assert types == ["submitted", "cancelled"]


def test_a_retry_is_a_new_job(l0: L0, failed_id: str) -> None:
    made = l0("retry", failed_id)
    again = l0("job", made.stdout.strip(), "--json").json
    assert (again["retry_of"], again["status"]) == (failed_id, "pending")
    assert l0("retry", failed_id, "--json").json["retry_of"] == failed_id


def test_a_job_is_deleted_only_where_that_is_meant(l0: L0, failed_id: str) -> None:
    assert "say so with --yes" in l0.refused(2, "delete", failed_id)
    assert l0("job", failed_id).code == 0
    assert l0("delete", failed_id, "--yes", "--json").json == {"deleted": failed_id}
    assert l0("job", failed_id).code == 4


def test_workers_are_listed(l0: L0, finished: Finished) -> None:
    workers = l0("workers", "--json").json
    lines = l0("workers").stdout.splitlines()
    assert len(lines) == (1 + len(workers) if workers else 0)


def test_a_key_is_sent_and_its_lack_said() -> None:
    with answering({"data": [], "has_more": False, "next_cursor": None}) as (url, asked):
        assert L0(url)("jobs", "--api-key", "l0_secret").code == 0
    assert asked[0][0] == "Bearer l0_secret"
