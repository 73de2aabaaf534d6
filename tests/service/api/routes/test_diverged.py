"""A job whose fit diverges, from its submission to every address it has: it says so, in JSON, and nothing is a 500."""

import json
import re
import threading
from typing import Any

import httpx
import numpy as np
import pytest

from service.auth.guard import ANONYMOUS_TENANT
from tests.problems import explosive
from tests.service.api.door import Door, job_body, refused
from tests.service.jobs import scenes
from worker.execution import execute
from worker.identity import identity

TOO_LARGE_A_STEP = {"learning_rate": 10.0, "learning_rate_schedule": "constant", "gradient": "sampled"}


@pytest.fixture
def diverged(inside: Door) -> dict[str, str]:
    """The addresses of such a job, once the engine has run it."""
    problem_id = scenes.keep_problem(inside.system, explosive(), tenant=ANONYMOUS_TENANT)
    hyperparameters = TOO_LARGE_A_STEP | {"epochs": 300, "loss": "squared"}
    body = job_body(problem_id, hyperparameters=hyperparameters, checkpoint_every=1, log_every=1, device="cpu")
    job: dict[str, Any] = inside.http.post("/v1/jobs", json=body).json()
    execute(job["id"], inside.system, identity(inside.system.settings), threading.Event())
    links: dict[str, str] = job["links"]
    return links


def _strict(reply: httpx.Response) -> Any:
    """Give a reply's JSON, in which NaN and Infinity are no words."""
    assert reply.status_code == 200, reply.text

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(reply.text, parse_constant=refuse)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_that_diverges_says_when_and_keeps_what_it_had_before(inside: Door, diverged: dict[str, str]) -> None:
    job = _strict(inside.http.get(diverged["self"]))
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 1, "diverged")
    said = re.match(r"after (\d+) epochs .* lower learning_rate \(now 10\)", job["error"]["detail"])
    assert said is not None
    epoch = int(said.group(1))
    assert 0 < epoch < 300

    steps = _strict(inside.http.get(diverged["metrics"]))["metrics"]["loss"]["step"]
    assert steps == list(range(epoch))
    events = _strict(inside.http.get(diverged["events"], params={"limit": 1000}))["data"]
    assert (events[-1]["type"], events[-1]["code"]) == ("failed", "diverged")
    assert _strict(inside.http.get(diverged["artifacts"])) == {"data": []}
    assert isinstance(_strict(inside.http.get(diverged["findings"]))["data"], list)

    checkpoints = _strict(inside.http.get(diverged["checkpoints"]))["data"]
    assert 0 < checkpoints[0]["epoch"] <= epoch
    query: dict[str, Any] = {"checkpoint": "latest", "active_only": False}
    held = _strict(inside.http.get(diverged["weights"], params=query))
    assert (held["n_units"], len(held["values"])) == (40, 40)
    assert np.isfinite(held["values"]).all()
    totals = _strict(inside.http.get(diverged["predictions"], params={"checkpoint": "latest"}))
    assert np.isfinite(totals["values"]).all()
    for part in ("weights", "predictions", "targets"):
        refused(inside.http.get(diverged[part]), 409, "result_not_ready", says="is failed")
