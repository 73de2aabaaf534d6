"""What is done to a job over HTTP: retried, deleted, begun where another one stood."""

import threading
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from service.db.base import Base
from service.jobs import deletion
from service.jobs.models import (
    Event,
    IdempotencyKey,
    Job,
    Metric,
    MetricBucket,
    StoredArtifact,
    StoredCheckpoint,
    TargetRow,
)
from service.jobs.values import Batch
from tests.service.api.door import Door, job_body, refused
from tests.service.api.endings import Finished, succeeded, target_row
from worker.execution import execute
from worker.identity import identity

LEFT = (Event, IdempotencyKey, Metric, MetricBucket, StoredArtifact, StoredCheckpoint, TargetRow, Job)


def ended(on: Door, problem_id: str, **fields: Any) -> str:
    """Give the id of a job that has ended with rows in every table, files, and an idempotency key."""
    reply = on.http.post("/v1/jobs", json=job_body(problem_id, **fields), headers={"Idempotency-Key": "mine"})
    batch = Batch(metrics=[(step, {"loss": 0.5}) for step in range(100)], targets=[target_row(0)])
    return succeeded(on.system, reply.json()["id"], weights=np.ones(3), batch=batch)


def cancelled(on: Door, problem_id: str, **fields: Any) -> dict[str, Any]:
    job = on.job(problem_id, **fields)
    assert on.http.post(job["links"]["cancel"]).status_code == 202
    return job


def rows(on: Door, table: type[Base]) -> int:
    with on.system.database.reading() as session:
        return session.scalars(select(func.count()).select_from(table)).one()


# --- retry


def test_a_retry_is_a_new_job_of_the_same_request(door: Door, problem_id: str) -> None:
    asked = {"seed": 9, "hyperparameters": {"epochs": 7}, "tags": {"a": "b"}, "max_attempts": 2, "log_every": 3}
    old = cancelled(door, problem_id, **asked)
    reply = door.http.post(f"/v1/jobs/{old['id']}/retry")
    assert reply.status_code == 201
    new = reply.json()
    assert (new["retry_of"], new["status"], new["attempt"]) == (old["id"], "pending", 0)
    assert reply.headers["Location"] == f"/v1/jobs/{new['id']}" != f"/v1/jobs/{old['id']}"
    same = ("kind", "problem_id", "hyperparameters", "seed", "device", "tags", "max_attempts")
    assert {name: new[name] for name in same} == {name: old[name] for name in same}
    assert old["retry_of"] is None


def test_a_job_that_may_still_succeed_is_not_retried(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    refused(door.http.post(f"/v1/jobs/{job['id']}/retry"), 409, "job_not_ended", says="pending")
    refused(door.http.post("/v1/jobs/job_nobody/retry"), 404, "not_found")


def test_a_retry_under_a_key_is_made_once(door: Door, problem_id: str) -> None:
    first, second = (cancelled(door, problem_id, seed=seed)["id"] for seed in (1, 2))
    key = {"Idempotency-Key": "retry-once"}
    made = [door.http.post(f"/v1/jobs/{first}/retry", headers=key) for _ in range(2)]
    assert made[0].json()["id"] == made[1].json()["id"]
    reply = door.http.post(f"/v1/jobs/{second}/retry", headers=key)
    refused(reply, 422, "idempotency_key_reused")


# --- delete


def test_a_deleted_job_leaves_nothing_behind(inside: Door) -> None:
    problem_id = inside.listed_problem()
    job_id = ended(inside, problem_id)
    assert all(rows(inside, table) for table in LEFT if table is not StoredCheckpoint)
    assert inside.http.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert [table for table in LEFT if rows(inside, table)] == []
    assert list(inside.system.store.keys("jobs/")) == []
    refused(inside.http.get(f"/v1/jobs/{job_id}"), 404, "not_found")
    refused(inside.http.delete(f"/v1/jobs/{job_id}"), 404, "not_found")
    assert inside.http.get("/v1/jobs").json()["data"] == []
    assert inside.http.delete(f"/v1/problems/{problem_id}").status_code == 204


def test_a_key_of_a_deleted_job_makes_a_new_one(inside: Door) -> None:
    problem_id = inside.listed_problem()
    old = ended(inside, problem_id)
    inside.http.delete(f"/v1/jobs/{old}")
    assert ended(inside, problem_id) != old


def test_a_job_that_has_not_ended_is_not_deleted(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    refused(door.http.delete(f"/v1/jobs/{job['id']}"), 409, "job_not_ended", says="cancel it first")
    assert door.http.get(f"/v1/jobs/{job['id']}").status_code == 200


def test_a_deletion_that_broke_off_is_ended_by_the_next_sweep(inside: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = ended(inside, inside.listed_problem())
    with monkeypatch.context() as broken:
        broken.setattr(deletion, "_remove", lambda *_: None)  # as if this process died here
        assert inside.http.delete(f"/v1/jobs/{job_id}").status_code == 204
    refused(inside.http.get(f"/v1/jobs/{job_id}"), 404, "not_found")
    assert rows(inside, Metric) == 100
    deletion.finish(inside.system, lambda: False)
    assert [table for table in LEFT if rows(inside, table)] == []
    assert list(inside.system.store.keys("jobs/")) == []


# --- begin where another one stood


def run_to_the_end(door: Door, job_id: str) -> dict[str, Any]:
    execute(job_id, door.system, identity(door.system.settings), threading.Event())
    job: dict[str, Any] = door.http.get(f"/v1/jobs/{job_id}").json()
    return job


@pytest.fixture(scope="module")
def begun(door: Door, finished: Finished) -> dict[str, Any]:
    """A gated job that has ended and left a checkpoint."""
    settings = {"selector": "gates", "epochs": 60, "lambda_share": 0.1}
    job = door.job(finished.problem_id, hyperparameters=settings, seed=3, checkpoint_every=20)
    return run_to_the_end(door, job["id"])


def body_from(begun: dict[str, Any], **changed: Any) -> dict[str, Any]:
    same = {name: begun[name] for name in ("hyperparameters", "seed", "device")}
    return job_body(begun["problem_id"], **{**same, "resume_from": {"job_id": begun["id"]}, **changed})


def dense(door: Door, job: dict[str, Any]) -> bytes:
    return door.http.get(job["links"]["weights"], params={"active_only": False, "format": "npy"}).content


def test_the_same_request_is_taken_up_again_to_the_bit(door: Door, begun: dict[str, Any]) -> None:
    made = door.http.post("/v1/jobs", json=body_from(begun)).json()
    assert made["resumed_from"]["job_id"] == begun["id"]
    assert made["resumed_from"]["same_run"] is True
    resumed = run_to_the_end(door, made["id"])
    assert resumed["status"] == "succeeded", resumed["error"]
    assert dense(door, resumed) == dense(door, begun)
    steps = door.http.get(resumed["links"]["metrics"]).json()["metrics"]["loss"]["step"]
    assert min(steps) >= made["resumed_from"]["epoch"] > 0


def test_another_request_goes_on_from_there_with_its_own_settings(door: Door, begun: dict[str, Any]) -> None:
    longer = {**begun["hyperparameters"], "epochs": 30, "learning_rate_schedule": "constant"}
    made = door.http.post("/v1/jobs", json=body_from(begun, hyperparameters=longer)).json()
    assert made["resumed_from"]["same_run"] is False
    resumed = run_to_the_end(door, made["id"])
    assert resumed["status"] == "succeeded", resumed["error"]
    codes = {finding["code"] for finding in door.http.get(resumed["links"]["findings"]).json()["data"]}
    assert "continued_with_changes" in codes
    assert dense(door, resumed) != dense(door, begun)


def test_a_retry_begins_where_the_job_began(door: Door, begun: dict[str, Any]) -> None:
    longer = {**begun["hyperparameters"], "epochs": 25}
    made = door.http.post("/v1/jobs", json=body_from(begun, hyperparameters=longer)).json()
    door.http.post(made["links"]["cancel"])
    again = door.http.post(f"{made['links']['self']}/retry").json()
    assert again["retry_of"] == made["id"]
    assert again["resumed_from"]["epoch"] == made["resumed_from"]["epoch"]
    assert run_to_the_end(door, again["id"])["status"] == "succeeded"


def test_what_a_job_begins_with_is_its_own(door: Door, begun: dict[str, Any]) -> None:
    """The job it comes from may be deleted: the copy stays, and goes with the job whose it is."""
    first = run_to_the_end(door, door.http.post("/v1/jobs", json=body_from(begun, seed=4)).json()["id"])
    second = door.http.post("/v1/jobs", json=body_from(begun, resume_from={"job_id": first["id"]})).json()
    assert door.http.delete(f"/v1/jobs/{first['id']}").status_code == 204
    assert run_to_the_end(door, second["id"])["status"] == "succeeded"
    assert door.http.delete(f"/v1/jobs/{second['id']}").status_code == 204
    assert [stored for stored in door.system.store.keys("jobs/") if second["id"] in stored.key] == []


def test_a_checkpoint_that_is_not_there_or_does_not_fit_is_refused(
    door: Door, begun: dict[str, Any], problem_id: str
) -> None:
    fresh = door.job(begun["problem_id"])
    cases: list[tuple[dict[str, Any], int, str]] = [
        (body_from(begun, resume_from={"job_id": "job_nobody"}), 404, "not_found"),
        (body_from(begun, resume_from={"job_id": fresh["id"]}), 409, "result_not_ready"),
        (body_from(begun, resume_from={"job_id": begun["id"], "checkpoint": "ckp_x"}), 409, "result_not_ready"),
        (job_body(problem_id, resume_from={"job_id": begun["id"]}), 409, "checkpoint_incompatible"),
    ]
    for body, status, code in cases:
        refused(door.http.post("/v1/jobs", json=body), status, code, says="resume_from")
    refused(door.http.post("/v1/jobs", json=body_from(begun, resume_from={})), 422, "invalid_request")


def test_a_checkpoint_whose_bytes_were_changed_is_refused(door: Door, begun: dict[str, Any]) -> None:
    other = run_to_the_end(
        door, door.http.post("/v1/jobs", json=body_from(begun, seed=8, resume_from=None)).json()["id"]
    )
    with door.system.database.reading() as session:
        keys = list(session.scalars(select(StoredCheckpoint.storage_key).where(StoredCheckpoint.job_id == other["id"])))
    for key in keys:
        path = door.system.settings.storage / key
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    body = body_from(begun, resume_from={"job_id": other["id"]})
    refused(door.http.post("/v1/jobs", json=body), 409, "checkpoint_incompatible", says="not the ones that were stored")
