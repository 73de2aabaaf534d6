"""What PolicyEngine's present clients ask and read."""

import numpy as np

from service.jobs import lifecycle
from service.jobs.values import Batch, Failure
from tests.service.api.door import Door, refused
from tests.service.api.endings import claimed, succeeded


def test_a_job_is_submitted_running_complete(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    url = f"/jobs/{job['id']}"
    reply = inside.http.get(url)
    assert (reply.status_code, reply.json()) == (202, {"status": "submitted", "result": None, "error": None})
    other = inside.job(job["problem_id"])
    claimed(inside.system, other["id"])
    reply = inside.http.get(f"/jobs/{other['id']}")
    assert (reply.status_code, reply.json()["status"]) == (202, "running")
    succeeded(inside.system, job["id"], weights=np.ones(3), batch=Batch())
    reply = inside.http.get(url)
    assert (reply.status_code, reply.json()["status"], reply.json()["error"]) == (200, "complete", None)
    assert reply.json()["result"]["summary"] == {"loss": 0.5}
    assert inside.http.get(reply.json()["result"]["links"]["weights"]).json()["count"] == 3


def test_a_cancelled_job_has_failed(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    inside.http.post(job["links"]["cancel"])
    reply = inside.http.get(f"/jobs/{job['id']}")
    assert (reply.status_code, reply.json()) == (
        200,
        {"status": "failed", "result": None, "error": "the job was cancelled"},
    )


def test_a_failed_job_says_why(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    held = claimed(inside.system, job["id"])
    failure = Failure(code="diverged", detail="the loss is not a number")
    with inside.system.database.transaction() as session:
        assert lifecycle.fail(session, held, Batch(), failure, inside.system.dispatcher)
    reply = inside.http.get(f"/jobs/{job['id']}")
    assert (reply.status_code, reply.json()["error"]) == (200, "the loss is not a number")


def test_an_unknown_job_is_not_found(inside: Door) -> None:
    refused(inside.http.get("/jobs/job_nobody"), 404, "not_found")
