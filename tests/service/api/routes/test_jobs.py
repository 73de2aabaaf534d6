"""Jobs over HTTP: taken once, looked at, listed, cancelled; every refusal names the hyperparameter."""

import asyncio
import base64
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from l0core.calibration.options import CalibrationHyperparameters
from service.api.app import create_app
from service.jobs import workers
from service.jobs.values import WorkerIdentity
from service.settings import Settings
from service.system import System
from tests.service.api.door import Door, called_here, job_body, refused, until

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
_JSON = {"Content-Type": "application/json"}


def _post(door: Door, problem_id: str, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return door.http.post("/v1/jobs", json=job_body(problem_id, **fields), headers=headers)


# --- taken


def test_a_job_is_accepted_with_a_place_to_look_at(door: Door, problem_id: str) -> None:
    reply = _post(door, problem_id, tags={"run": "1"})
    assert reply.status_code == 202
    job = reply.json()
    assert reply.headers["Location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert reply.headers["Retry-After"] == "2"
    assert (job["kind"], job["status"], job["attempt"], job["problem_id"]) == ("calibration", "pending", 0, problem_id)
    assert job["problem_sha256"] == door.http.get(f"/v1/problems/{problem_id}").json()["sha256"]
    assert (job["tags"], job["error"], job["summary"], job["started_at"]) == ({"run": "1"}, None, None, None)


def test_defaults_are_filled_in_and_shown(door: Door, problem_id: str) -> None:
    job = door.job(problem_id, hyperparameters={"epochs": 7})
    assert job["hyperparameters"] == CalibrationHyperparameters(epochs=7).model_dump(mode="json")
    assert (job["seed"], job["device"], job["max_attempts"]) == (0, "cpu", 3)


def test_what_was_asked_is_what_is_shown(door: Door, problem_id: str) -> None:
    asked = {
        "seed": 2**63 - 1,
        "device": "cpu",
        "max_attempts": 1,
        "hyperparameters": {"record_budget": 2, "beta": 0.5},
    }
    job = door.job(problem_id, **asked, log_every=3, checkpoint_every=5, deadline_seconds=60.5)
    seen = door.http.get(job["links"]["self"]).json()
    for shown in (job, seen):
        assert {name: shown[name] for name in ("seed", "device", "max_attempts")} == {
            name: asked[name] for name in ("seed", "device", "max_attempts")
        }
        assert (shown["hyperparameters"]["record_budget"], shown["hyperparameters"]["beta"]) == (2, 0.5)


@pytest.mark.parametrize(
    ("hyperparameters", "pointer", "words"),
    [
        ({"epochs": 0}, "/epochs", "greater than or equal to 1"),
        ({"epochs": 10**12}, "/epochs", "less than or equal to 10000000"),
        ({"epochs": 1.5}, "/epochs", "integer"),
        ({"epochs": "500"}, "/epochs", "integer"),
        ({"epochs": True}, "/epochs", "integer"),
        ({"learning_rate": 0}, "/learning_rate", "greater than 0"),
        ({"learning_rate": "0.1"}, "/learning_rate", "number"),
        ({"learning_rate": float("nan")}, "/learning_rate", "finite number"),
        ({"lambda_l0": -1}, "/lambda_l0", "greater than or equal to 0"),
        ({"lambda_l2": float("inf")}, "/lambda_l2", "finite number"),
        ({"beta": 0}, "/beta", "greater than 0"),
        ({"gamma": 0}, "/gamma", "less than 0"),
        ({"zeta": 1}, "/zeta", "greater than 1"),
        ({"init_keep_prob": 1}, "/init_keep_prob", "less than 1"),
        ({"loss": "hinge"}, "/loss", "'relative', 'absolute_relative' or 'squared'"),
        ({"loss": "\ud800"}, "/loss", "surrogate"),
        ({"record_budget": 0}, "/record_budget", "greater than or equal to 1"),
        ({"refit": 1}, "/refit", "boolean"),
        ({"group_multipliers": {"1": "2"}}, "/group_multipliers/1", "number"),
        ({"epoch": 500}, "/epoch", "unknown field"),
        ({"lambda_l0": 1.0, "record_budget": 2}, "", "lambda_l0 and record_budget exclude one another"),
        ({"lambda_l0": 1.0, "lambda_share": 2.0}, "", "lambda_l0 and lambda_share exclude one another"),
        ({"refit": False, "max_weight_ratio": 2.0}, "", "refit is false"),
        ({"min_weight_ratio": 3.0, "max_weight_ratio": 2.0}, "", "min_weight_ratio 3.0 is above max_weight_ratio 2.0"),
    ],
)
def test_a_bad_hyperparameter_is_refused_and_named(
    door: Door, problem_id: str, hyperparameters: dict[str, Any], pointer: str, words: str
) -> None:
    text = json.dumps(job_body(problem_id, hyperparameters=hyperparameters))
    reply = door.http.post("/v1/jobs", content=text, headers=_JSON)
    refused(reply, 422, "invalid_hyperparameter", pointer=f"/hyperparameters{pointer}", says=words)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"seed": -1}, "/seed"),
        ({"seed": 2**63}, "/seed"),
        ({"seed": 1.0}, "/seed"),
        ({"seed": True}, "/seed"),
        ({"seed": "1"}, "/seed"),
        ({"device": "tpu"}, "/device"),
        ({"log_every": 0}, "/log_every"),
        ({"checkpoint_every": 0}, "/checkpoint_every"),
        ({"deadline_seconds": 0}, "/deadline_seconds"),
        ({"deadline_seconds": 31 * 86400}, "/deadline_seconds"),
        ({"max_attempts": 0}, "/max_attempts"),
        ({"max_attempts": 101}, "/max_attempts"),
        ({"kind": "weighing"}, "/kind"),
        ({"problem_id": "x" * 65}, "/problem_id"),
        ({"problem_id": 7}, "/problem_id"),
        ({"tags": {"": "empty"}}, "/tags//[key]"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_bad_field_is_refused_and_named(door: Door, problem_id: str, fields: dict[str, Any], pointer: str) -> None:
    reply = door.http.post("/v1/jobs", json=job_body(problem_id) | fields)
    refused(reply, 422, "invalid_request", pointer=pointer)


@pytest.mark.parametrize(
    "multipliers",
    [{"1": -1.0}, {"1": 0.0}, {"01": 1.0}, {"one": 1.0}, {"\ud800": 1.0}],
)
def test_multipliers_of_no_group_and_below_zero_are_refused(
    door: Door, problem_id: str, multipliers: dict[str, float]
) -> None:
    text = json.dumps(job_body(problem_id, hyperparameters={"group_multipliers": multipliers}))
    reply = door.http.post("/v1/jobs", content=text, headers=_JSON)
    refused(reply, 422, "invalid_hyperparameter")


@pytest.mark.parametrize("problem", ["prb_nobody", "", "x", "../x", "\u2603"])
def test_an_unknown_problem_is_not_found(door: Door, problem: str) -> None:
    refused(_post(door, problem), 404, "not_found", says="there is no problem")


@pytest.mark.parametrize(
    "fields",
    [
        {"log_every": 2**70},
        {"checkpoint_every": 2**63},
        {"log_every": 2**31 - 1, "checkpoint_every": 2**31 - 1},
    ],
)
def test_a_number_beyond_the_database_is_no_500(door: Door, problem_id: str, fields: dict[str, int]) -> None:
    reply = door.http.post("/v1/jobs", json=job_body(problem_id) | fields)
    assert reply.status_code in (202, 422)


@_ON_POSTGRESQL
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"tags": {"a": "\0"}}, id="tag"),
        pytest.param({"tags": {"\0": "a"}}, id="name of a tag"),
        pytest.param({"problem_id": "\0"}, id="problem"),
        pytest.param({"hyperparameters": {"group_multipliers": {"\0": 1.0}}}, id="group"),
        pytest.param(
            {"log_every": 2**31},
            id="log_every",
        ),
        pytest.param({"tags": {"\u2603": "\u00e9\U0001f600"}}, id="snowman"),
        pytest.param({"seed": 2**63 - 1}, id="largest seed"),
        pytest.param({"hyperparameters": {"record_budget": 10**300}}, id="a budget beyond floats"),
    ],
)
def test_postgresql_refuses_nothing_that_was_accepted(inside: Door, fields: dict[str, Any]) -> None:
    body = job_body(inside.listed_problem()) | fields
    assert inside.http.post("/v1/jobs", json=body).status_code in (202, 404, 422)


# --- the same job for the same key


def test_the_same_key_and_request_give_the_same_job(door: Door, problem_id: str) -> None:
    key = {"Idempotency-Key": "same"}
    first = _post(door, problem_id, headers=key, seed=1)
    # what was left out the second time is what was written out the first
    again = _post(door, problem_id, headers=key, seed=1, hyperparameters={"epochs": 500}, tags={})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"hyperparameters": {"epochs": 7}},
        {"tags": {"a": "b"}},
        {"device": "cuda"},
    ],
)
def test_a_key_of_another_request_is_refused(door: Door, problem_id: str, other: dict[str, Any]) -> None:
    key = {"Idempotency-Key": f"other {other}"}
    assert _post(door, problem_id, headers=key, device="cpu").status_code == 202
    reply = _post(door, problem_id, headers=key, **{"device": "cpu"} | other)
    refused(reply, 422, "idempotency_key_reused", says="use a new key for a new job")


def test_a_refused_request_does_not_use_up_its_key(door: Door, problem_id: str) -> None:
    key = {"Idempotency-Key": "second try"}
    refused(_post(door, "prb_nobody", headers=key), 404, "not_found")
    refused(_post(door, problem_id, headers=key, seed=-1), 422, "invalid_request")
    assert _post(door, problem_id, headers=key).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_no_or_too_great_length_is_refused(door: Door, problem_id: str, key: str) -> None:
    refused(_post(door, problem_id, headers={"Idempotency-Key": key}), 422, "invalid_request", says="idempotency-key")


def test_jobs_without_a_key_are_different_jobs(door: Door, problem_id: str) -> None:
    assert door.job(problem_id)["id"] != door.job(problem_id)["id"]


def test_fifty_at_once_with_one_key_make_one_job(settings: Settings) -> None:
    """In one event loop, on both databases."""
    with called_here(settings) as door:
        body = job_body(door.listed_problem())

    app = create_app(settings)

    async def all_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            key = {"Idempotency-Key": "fifty"}
            return await asyncio.gather(*(http.post("/v1/jobs", json=body, headers=key) for _ in range(50)))

    replies = asyncio.run(all_at_once())
    app.state.system.database.dispose()
    assert Counter(reply.status_code for reply in replies) == {202: 50}
    assert len({reply.json()["id"] for reply in replies}) == 1
    with called_here(settings) as door:
        assert len(door.http.get("/v1/jobs").json()["data"]) == 1


def test_fifty_clients_at_once_with_one_key_make_one_job(door: Door, problem_id: str) -> None:
    key = {"Idempotency-Key": "fifty clients"}
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: _post(door, problem_id, headers=key), range(50)))
    assert {reply.status_code for reply in replies} <= {202, 409}
    assert len({reply.json()["id"] for reply in replies if reply.status_code == 202}) == 1


# --- looked at


def test_a_job_can_be_looked_at_and_an_unknown_one_is_not_found(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    reply = door.http.get(job["links"]["self"])
    assert reply.status_code == 200
    assert reply.json()["id"] == job["id"]
    assert reply.headers["ETag"] == f'"{reply.json()["version"]}"'


_OF_A_JOB = (
    ("GET", ""),
    ("GET", "/events"),
    ("GET", "/metrics"),
    ("GET", "/weights"),
    ("GET", "/predictions"),
    ("GET", "/targets"),
    ("GET", "/artifacts"),
    ("GET", "/artifacts/report.html"),
    ("POST", "/cancel"),
)


@pytest.mark.parametrize(("method", "path"), _OF_A_JOB)
@pytest.mark.parametrize("job_id", ["job_nobody", "%20", "%2e%2e%2fx", "\u2603"])
def test_nothing_of_an_unknown_job_is_found(door: Door, method: str, path: str, job_id: str) -> None:
    refused(door.http.request(method, f"/v1/jobs/{job_id}{path}"), 404, "not_found")


def test_an_unknown_job_streams_no_events(door: Door) -> None:
    reply = door.http.get("/v1/jobs/job_nobody/events", headers={"Accept": "text/event-stream"})
    refused(reply, 404, "not_found")


@_ON_POSTGRESQL
@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/%00",
        "/v1/jobs/%00/events",
        "/v1/uploads/%00",
        "/v1/problems/%00",
        "/v1/jobs?kind=%00",
    ],
)
def test_a_nul_in_a_path_is_nothing_known(inside: Door, path: str) -> None:
    assert inside.http.get(path).status_code in (200, 404, 422)


def test_nothing_new_is_304(door: Door, problem_id: str) -> None:
    job = _settled(door, problem_id)
    etag = door.http.get(job["links"]["self"]).headers["ETag"]
    unchanged = door.http.get(job["links"]["self"], headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
    assert door.http.get(job["links"]["self"], headers={"If-None-Match": '"0"'}).status_code == 200
    door.http.post(job["links"]["cancel"])
    changed = door.http.get(job["links"]["self"], headers={"If-None-Match": etag})
    assert (changed.status_code, changed.json()["status"]) == (200, "cancelled")


def _settled(door: Door, problem_id: str) -> dict[str, Any]:
    """Give a pending job that has been published already, so that its version stays."""
    url = door.job(problem_id)["links"]["self"]
    until(lambda: door.http.get(url).json()["stage"] == "queued")
    job: dict[str, Any] = door.http.get(url).json()
    return job


@pytest.mark.parametrize("form", ['"0", {etag}', "W/{etag}", "*"])
def test_if_none_match_is_a_list_compared_weakly(door: Door, problem_id: str, form: str) -> None:
    job = _settled(door, problem_id)
    etag = door.http.get(job["links"]["self"]).headers["ETag"]
    reply = door.http.get(job["links"]["self"], headers={"If-None-Match": form.format(etag=etag)})
    assert reply.status_code == 304


def test_waiting_ends_with_the_job(door: Door, problem_id: str) -> None:
    job = _settled(door, problem_id)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(door.http.get, job["links"]["self"], params={"wait": 25})
        door.http.post(job["links"]["cancel"])
        assert waiting.result().json()["status"] == "cancelled"


def test_waiting_for_a_version_ends_at_the_next_one(door: Door, problem_id: str) -> None:
    job = _settled(door, problem_id)
    known = {"wait": 25, "after_version": job["version"] - 1}
    assert door.http.get(job["links"]["self"], params=known).json()["version"] == job["version"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(door.http.get, job["links"]["self"], params=known | {"after_version": job["version"]})
        door.http.post(job["links"]["cancel"])
        assert waiting.result().json()["version"] > job["version"]


def test_no_news_is_the_job_as_it_is_when_the_time_is_over(door: Door, problem_id: str) -> None:
    job = _settled(door, problem_id)
    reply = door.http.get(job["links"]["self"], params={"wait": 0.3, "after_version": job["version"]})
    assert (reply.status_code, reply.json()) == (200, job)


@pytest.mark.parametrize("wait", ["-1", "26", "nan", "inf", "x", ""])
def test_a_wait_out_of_range_is_refused(door: Door, problem_id: str, wait: str) -> None:
    job = door.job(problem_id)
    for path in (job["links"]["self"], job["links"]["events"]):
        refused(door.http.get(path, params={"wait": wait}), 422, "invalid_request", pointer="/wait")


@pytest.mark.parametrize("prefer", ["wait=25", "respond-async, wait=10", "WAIT=25", f"wait={'9' * 400}"])
def test_prefer_wait_gives_the_end_as_200(door: Door, problem_id: str, prefer: str) -> None:
    key = {"Idempotency-Key": f"prefer {prefer[:30]}"}
    job = _post(door, problem_id, headers=key).json()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_post, door, problem_id, headers=key | {"Prefer": prefer})
        door.http.post(job["links"]["cancel"])
        reply = waiting.result()
    assert (reply.status_code, reply.json()["status"], reply.json()["id"]) == (200, "cancelled", job["id"])


@pytest.mark.parametrize("prefer", ["wait=0", "wait=-1", "wait=x", "wait", "return=minimal", "wait=1.5", ""])
def test_a_preference_that_asks_for_no_wait_is_none(door: Door, problem_id: str, prefer: str) -> None:
    reply = _post(door, problem_id, headers={"Prefer": prefer})
    assert (reply.status_code, reply.json()["status"]) == (202, "pending")


def test_prefer_wait_gives_the_pending_job_as_202_when_the_time_is_over(door: Door, problem_id: str) -> None:
    reply = _post(door, problem_id, headers={"Prefer": "wait=1"})
    assert (reply.status_code, reply.json()["status"]) == (202, "pending")


# --- listed


def test_pages_give_every_job_once_newest_first(inside: Door) -> None:
    problem_id = inside.listed_problem()
    made = [inside.job(problem_id)["id"] for _ in range(7)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = inside.http.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
        assert len(page["data"]) == 3
        inside.job(problem_id)  # a newer job shifts nothing
        query["cursor"] = page["next_cursor"]
    assert seen == made[::-1]
    assert page["next_cursor"] is None


@_ON_SQLITE
def test_a_page_that_is_just_full_has_no_next(inside: Door) -> None:
    problem_id = inside.listed_problem()
    for _ in range(3):
        inside.job(problem_id)
    page = inside.http.get("/v1/jobs", params={"limit": 3}).json()
    assert (len(page["data"]), page["has_more"], page["next_cursor"]) == (3, False, None)


@_ON_SQLITE
def test_jobs_are_listed_by_status_and_kind(inside: Door) -> None:
    problem_id = inside.listed_problem()
    gone, waits = inside.job(problem_id), inside.job(problem_id)
    inside.http.post(gone["links"]["cancel"])

    def listed(**query: str) -> list[str]:
        return [job["id"] for job in inside.http.get("/v1/jobs", params=query).json()["data"]]

    assert listed(status="cancelled") == [gone["id"]]
    assert listed(status="pending", kind="calibration") == [waits["id"]]
    assert listed(status="running") == listed(kind="sampling") == []


def test_jobs_are_listed_by_tags_and_age(inside: Door) -> None:
    problem_id = inside.listed_problem()
    plain = inside.job(problem_id)["id"]
    both = inside.job(problem_id, tags={"run": "1", 'a "b" $.c': "caf\u00e9"})["id"]
    one = inside.job(problem_id, tags={"run": "1"})
    other = inside.job(problem_id, tags={"run": "2", "1": "run"})["id"]

    def listed(**query: Any) -> list[str]:
        reply = inside.http.get("/v1/jobs", params=query)
        assert reply.status_code == 200, reply.text
        return [job["id"] for job in reply.json()["data"]]

    assert listed(**{"tag.run": "1"}) == [one["id"], both]
    assert listed(**{"tag.run": "1", 'tag.a "b" $.c': "caf\u00e9"}) == [both]
    assert listed(**{"tag.run": "3"}) == listed(**{"tag.none": "1"}) == listed(**{"tag.": "1"}) == []
    assert listed(created_after=one["created_at"]) == [other]
    assert listed(created_after="2001-01-01T00:00:00+02:00", status="pending") == [other, one["id"], both, plain]


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!",
        "\u00e9",
        "=",
        _cursor("1"),
        _cursor("null"),
        _cursor("[1]"),
        _cursor("{}"),
        _cursor("[" * 1400),
        _cursor('"\\ud800"'),
    ],
)
def test_a_cursor_of_another_make_is_refused(door: Door, cursor: str) -> None:
    body = refused(door.http.get("/v1/jobs", params={"cursor": cursor}), 422, "invalid_request")
    assert body["detail"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"status": "done"}, "/status"),
        ({"limit": 0}, "/limit"),
        ({"limit": 1001}, "/limit"),
        ({"limit": "many"}, "/limit"),
        ({"kind": "x" * 65}, "/kind"),
        ({"created_after": "yesterday"}, "/created_after"),
        ({"created_after": "0.5"}, "/created_after"),
        ({"created_after": "2026-01-01T00:00:00"}, "/created_after"),
        ({"created_after": "99999-01-01T00:00:00Z"}, "/created_after"),
        ({"tag.a": "\0"}, "/tag.a"),
        ({"tags": "a"}, "/tags"),
        ({"cursor": "x" * 2001}, "/cursor"),
    ],
)
def test_a_bad_filter_is_refused_and_named(door: Door, query: dict[str, Any], pointer: str) -> None:
    refused(door.http.get("/v1/jobs", params=query), 422, "invalid_request", pointer=pointer)


def test_an_unknown_filter_is_refused(door: Door) -> None:
    refused(door.http.get("/v1/jobs", params={"staus": "failed"}), 422, "invalid_request")


# --- cancelled


def test_a_pending_job_is_cancelled_at_once_and_only_once(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    first, again = door.http.post(job["links"]["cancel"]), door.http.post(job["links"]["cancel"])
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["status"] == again.json()["status"] == "cancelled"
    assert first.json()["finished_at"] == again.json()["finished_at"] is not None


# --- the broker and the workers


@_ON_SQLITE
def test_a_job_is_taken_while_the_broker_is_away(settings: Settings) -> None:
    with called_here(settings.model_copy(update={"broker_url": "redis+socket:///nowhere/broker.sock"})) as door:
        reply = _post(door, door.listed_problem())
        assert reply.status_code == 202
        assert reply.json()["stage"] == "awaiting_dispatch"


def _see_worker(system: System, queues: tuple[str, ...]) -> None:
    with system.database.transaction() as session:
        workers.see_worker(session, WorkerIdentity(id=f"wrk_{queues}", host="here", queues=queues, device="cpu"))


def test_auto_is_the_gpu_where_a_gpu_worker_was_seen(inside: Door) -> None:
    problem_id = inside.listed_problem()
    _see_worker(inside.system, ("cpu",))
    assert inside.job(problem_id)["device"] == "cpu"
    assert inside.job(problem_id, device="cuda")["stage"] == "no_gpu_worker"
    _see_worker(inside.system, ("gpu", "cpu"))
    assert inside.job(problem_id)["device"] == "cuda"
    assert inside.job(problem_id, device="cpu")["device"] == "cpu"
    assert inside.job(problem_id, device="cuda")["stage"] == "awaiting_dispatch"
