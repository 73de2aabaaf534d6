"""Nobody sees what is another tenant's: on every route of the OpenAPI document, by every id there is."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from l0core.kinds import KINDS
from service.auth.callers import Scope
from service.jobs.values import Batch
from tests.service.api.door import Door, job_body, problem_body, refused
from tests.service.api.endings import claimed, succeeded, target_row
from tests.service.api.keyed import Keyed
from tests.service.problems.files import NPY, npy

NOBODYS = {  # what tells nothing of any tenant
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/v1/capabilities"),
    ("GET", "/v1/methods"),
    ("GET", "/v1/methods/{kind}/schema"),
}
OWN = {  # without an id in the path: each has a test below
    ("GET", "/v1/compare"),
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/problems"),
    ("POST", "/v1/problems"),
    ("POST", "/v1/uploads"),
    ("GET", "/v1/webhooks/secret"),
    ("POST", "/v1/webhooks/secret/rotate"),
    ("GET", "/v1/workers"),
}
ONLY_OF_SOME = {("GET", "/v1/jobs/{job_id}/webhook")} | {  # 404 of the owner's job too
    ("GET", f"/v1/jobs/{{job_id}}/{name}") for kind in KINDS.values() for name in kind.tables
}
IDS_IN_BODIES = {
    "id",
    "job_id",
    "problem_id",
    "upload_id",
    "request_id",
    "resume_from",
    "resumed_from",
    "retry_of",
}  # each is tried below
MATRIX = {"csr": {"shape": [1, 3], "indptr": [0, 1], "indices": [0], "data": [1.0]}}
BODIES: dict[tuple[str, str], dict[str, Any]] = {("POST", "/v1/jobs/{job_id}/predictions"): {"matrix": MATRIX}}
DATA = npy(np.array([3.0, 4.5]))


@dataclass(frozen=True, kw_only=True)
class Town:
    """A tenant with one of everything, and another who has nothing; both may do all."""

    owner: Door
    other: Door
    ids: dict[str, str] = field(default_factory=dict)

    def path(self, template: str) -> str:
        """Give the path to the owner's own."""
        unknown = set(re.findall(r"{(\w+)}", template)) - set(self.ids)
        assert not unknown, f"{template}: put the owner's {unknown} into `town`"
        return template.format(**self.ids)


@pytest.fixture(scope="module")
def town(keyed: Keyed) -> Town:
    owner, other = keyed.door("owner", Scope.ADMIN), keyed.door("other", Scope.ADMIN)
    upload = owner.upload(DATA, NPY)
    problem = owner.problem(targets={"upload_id": upload})
    job = owner.job(problem, tags={"name": "mine"})["id"]
    rows = [target_row(0), target_row(1)]
    succeeded(keyed.system, job, weights=np.array([1.0, 0.0, 2.0]), batch=Batch(targets=rows))
    digest = hashlib.sha256(DATA).hexdigest()
    ids = {
        "upload_id": upload,
        "sha256": digest,
        "problem_id": problem,
        "job_id": job,
        "name": "calibration_weights.npy",
    }
    return Town(owner=owner, other=other, ids=ids)


def _send(door: Door, town: Town, operation: tuple[str, str], **options: Any) -> httpx.Response:
    method, template = operation
    return door.http.request(method, town.path(template), json=BODIES.get(operation), **options)


def _is_refused(operation: tuple[str, str], reply: httpx.Response, status: int, code: str) -> None:
    if operation[0] == "HEAD":
        assert (reply.status_code, reply.content) == (status, b"")
    else:
        refused(reply, status, code)


def test_every_operation_with_an_id_is_tried(keyed: Keyed) -> None:
    assert {(method, path) for method, path in keyed.operations() if "{" not in path} | NOBODYS == OWN | NOBODYS
    names = {name for schema in keyed.app.openapi()["components"]["schemas"].values() for name in _properties(schema)}
    assert {name for name in names if re.search(r"(^|_)(ids?|from|of)$", name)} == IDS_IN_BODIES


def _properties(node: object) -> set[str]:
    """Give the names of all fields of a schema, however deep."""
    if isinstance(node, list):
        return set().union(*map(_properties, node))
    if not isinstance(node, dict):
        return set()
    return set(node.get("properties", {})).union(*map(_properties, node.values()))


def test_the_id_of_another_tenant_is_of_nothing_on_every_route(keyed: Keyed, town: Town) -> None:
    with_ids = [operation for operation in keyed.operations() if "{" in operation[1] and operation not in NOBODYS]
    assert len(with_ids) >= 15
    for operation in with_ids:
        _is_refused(operation, _send(town.other, town, operation), 404, "not_found")
    for operation in with_ids:  # the ids are right, and whoever has not been let in has changed nothing
        if operation[0] == "GET" and operation not in ONLY_OF_SOME:
            assert _send(town.owner, town, operation).status_code == 200, operation


def test_a_stranger_is_refused_on_every_route_before_anything_is_looked_up(keyed: Keyed, town: Town) -> None:
    town.ids["kind"] = "calibration"
    for operation in keyed.operations():
        reply = _send(keyed.stranger, town, operation)
        if operation[1] in ("/healthz", "/readyz"):
            assert reply.status_code in (200, 503)
        else:
            _is_refused(operation, reply, 401, "unauthorized")
            assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_a_key_that_reads_changes_nothing_on_any_route(keyed: Keyed, town: Town) -> None:
    reader = keyed.door("owner", Scope.READ)
    writing = [operation for operation in keyed.operations() if operation[0] not in ("GET", "HEAD")]
    assert len(writing) >= 6
    for operation in writing:
        refused(_send(reader, town, operation), 403, "forbidden", says="scope write; yours has read")
    assert _send(reader, town, ("GET", "/v1/jobs/{job_id}")).json()["status"] == "succeeded"


def test_the_stream_and_the_head_of_another_tenant_s_are_of_nothing(town: Town) -> None:
    events, artifact = town.path("/v1/jobs/{job_id}/events"), town.path("/v1/jobs/{job_id}/artifacts/{name}")
    refused(town.other.http.get(events, headers={"Accept": "text/event-stream"}), 404, "not_found")
    assert town.other.http.head(artifact).status_code in (404, 405)
    etag = town.owner.http.get(artifact).headers["ETag"]
    refused(town.other.http.get(artifact, headers={"If-None-Match": etag}), 404, "not_found")


def test_each_lists_their_own_jobs(keyed: Keyed, town: Town) -> None:
    assert town.ids["job_id"] in [job["id"] for job in town.owner.http.get("/v1/jobs").json()["data"]]
    assert keyed.door("third").http.get("/v1/jobs").json()["data"] == []


def test_each_lists_their_own_problems(keyed: Keyed, town: Town) -> None:
    assert town.ids["problem_id"] in [problem["id"] for problem in town.owner.http.get("/v1/problems").json()["data"]]
    assert keyed.door("third").http.get("/v1/problems").json()["data"] == []


def test_nothing_is_compared_with_another_tenant_s_job(keyed: Keyed, town: Town) -> None:
    job = town.other.job(town.other.problem())["id"]
    succeeded(keyed.system, job, weights=np.ones(3), batch=Batch())
    for a, b in ((job, town.ids["job_id"]), (town.ids["job_id"], job)):
        refused(town.other.http.get("/v1/compare", params={"a": a, "b": b}), 404, "not_found")


def test_each_signs_with_a_secret_of_their_own(keyed: Keyed, town: Town) -> None:
    mine, theirs = (door.http.get("/v1/webhooks/secret").json()["secret"] for door in (town.owner, town.other))
    assert mine != theirs
    town.other.http.post("/v1/webhooks/secret/rotate")
    assert town.owner.http.get("/v1/webhooks/secret").json()["secret"] == mine
    reader = keyed.door("owner", Scope.READ)
    refused(reader.http.get("/v1/webhooks/secret"), 403, "forbidden")


def test_no_job_goes_on_from_another_tenant_s(town: Town) -> None:
    body = job_body(town.other.problem(), resume_from={"job_id": town.ids["job_id"]})
    refused(town.other.http.post("/v1/jobs", json=body), 404, "not_found", says="resume_from")


def test_no_job_runs_on_another_tenant_s_problem(town: Town) -> None:
    refused(town.other.http.post("/v1/jobs", json=job_body(town.ids["problem_id"])), 404, "not_found")


@pytest.mark.parametrize("name", ["targets", "matrix", "initial_weights"])
def test_no_problem_is_made_of_another_tenant_s_upload(town: Town, name: str) -> None:
    body = problem_body(**{name: {"upload_id": town.ids["upload_id"]}})
    for path in ("/v1/problems", "/v1/problems?validate_only=true"):
        refused(town.other.http.post(path, json=body), 404, "not_found", says="there is no upload")


def test_nothing_is_predicted_with_what_is_another_tenant_s(keyed: Keyed, town: Town) -> None:
    problem = town.other.problem()
    job = town.other.job(problem)["id"]
    succeeded(keyed.system, job, weights=np.ones(3), batch=Batch())
    for body in ({"matrix": {"upload_id": town.ids["upload_id"]}}, {"problem_id": town.ids["problem_id"]}):
        refused(town.other.http.post(f"/v1/jobs/{job}/predictions", json=body), 404, "not_found", says="there is no")


def test_the_same_bytes_are_each_tenant_s_own(town: Town) -> None:
    assert town.other.upload(DATA, NPY) != town.ids["upload_id"]
    assert town.other.problem() != town.ids["problem_id"] == town.owner.problem()


def test_an_idempotency_key_is_its_tenant_s_own(town: Town) -> None:
    mine, theirs = town.ids["problem_id"], town.other.problem()
    headers = {"Idempotency-Key": "nightly"}
    first = town.owner.http.post("/v1/jobs", json=job_body(mine), headers=headers).json()["id"]
    other = town.other.http.post("/v1/jobs", json=job_body(theirs), headers=headers)
    assert other.status_code == 202
    assert other.json()["id"] != first
    assert town.owner.http.post("/v1/jobs", json=job_body(mine), headers=headers).json()["id"] == first


def test_a_worker_names_only_the_caller_s_jobs(keyed: Keyed, town: Town) -> None:
    from service.jobs import workers
    from tests.service.api.endings import WORKER

    running = town.owner.job(town.ids["problem_id"])["id"]
    with keyed.system.database.transaction() as session:
        workers.see_worker(session, WORKER)
    claimed(keyed.system, running)
    (mine,), (theirs,) = (door.http.get("/v1/workers").json()["data"] for door in (town.owner, town.other))
    assert (mine["busy"], mine["jobs"]) == (True, [running])
    assert (theirs["busy"], theirs["jobs"]) == (True, [])
