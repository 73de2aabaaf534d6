"""After its time a result is 410 at every one of its addresses; the job itself, and its story, are still told."""

from typing import Any

import numpy as np
import pytest

from service.jobs.values import Batch
from service.keeping import results
from tests.service.api.door import Door, refused
from tests.service.api.endings import succeeded, target_row
from tests.service.keeping import shelves

RESULTS = [
    "weights",
    "weights?active_only=false&format=npy",
    "predictions",
    "targets",
    "targets?sort=-abs_relative_error",
    "artifacts",
    "artifacts/calibration_weights.npy",
    "checkpoints",
    "artifacts/report.html",
    "artifacts/nothing_of_that_name",
    "metrics",
]
STORY = ["", "/events", "/findings"]


@pytest.fixture
def expired(inside: Door) -> dict[str, Any]:
    """A job whose results were there, and have expired."""
    job = inside.job(inside.listed_problem())
    batch = Batch(metrics=[(1, {"loss": 0.5})], targets=[target_row(0)])
    succeeded(inside.system, job["id"], weights=np.ones(3), batch=batch, files={"report.html": b"<p>"})
    for path in RESULTS:
        assert inside.http.get(f"{job['links']['self']}/{path}").status_code == (404 if "nothing" in path else 200)
    shelves.ended_days_ago(inside.system, job["id"], 91)
    results.expire(inside.system)
    found: dict[str, Any] = inside.http.get(job["links"]["self"]).json()
    return found


def test_the_job_is_there_and_says_when_its_results_went(inside: Door, expired: dict[str, Any]) -> None:
    assert expired["status"] == "succeeded"
    assert expired["expired_at"].endswith("Z")
    assert expired["summary"] == {"loss": 0.5}
    for path in STORY:
        assert inside.http.get(expired["links"]["self"] + path).status_code == 200
    (listed,) = inside.http.get("/v1/jobs").json()["data"]
    assert listed["expired_at"] == expired["expired_at"]


@pytest.mark.parametrize("cleared", [False, True], ids=["before its rows are gone", "after"])
def test_every_address_of_its_results_is_gone(inside: Door, expired: dict[str, Any], *, cleared: bool) -> None:
    if cleared:
        shelves.expired_long_ago(inside.system)
        results.clear(inside.system, shelves.never)
        assert shelves.keys(inside.system) == []
        expired = inside.http.get(expired["links"]["self"]).json()
    for path in RESULTS:
        body = refused(inside.http.get(f"{expired['links']['self']}/{path}"), 410, "expired", says=expired["id"])
        assert body["expired_at"] == expired["expired_at"]
        assert not body["retryable"]
    matrix = {"coo": {"shape": [1, 3], "row": [0], "col": [0], "data": [1.0]}}
    reply = inside.http.post(f"{expired['links']['self']}/predictions", json={"matrix": matrix})
    refused(reply, 410, "expired")


def test_a_job_that_has_not_expired_says_null(inside: Door) -> None:
    assert inside.job(inside.listed_problem())["expired_at"] is None


def test_a_result_that_never_was_has_expired_too(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    inside.http.post(job["links"]["cancel"])
    refused(inside.http.get(job["links"]["weights"]), 409, "result_not_ready")
    shelves.ended_days_ago(inside.system, job["id"], 91)
    results.expire(inside.system)
    for path in ("weights", "weights?checkpoint=latest", "targets", "artifacts", "artifacts/report.html", "metrics"):
        refused(inside.http.get(f"{job['links']['self']}/{path}"), 410, "expired")
