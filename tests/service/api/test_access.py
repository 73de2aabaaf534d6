"""Who is let in: with which key, for what, how often; and what is told to those who are not."""

import asyncio
import json
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from service.auth.callers import Scope
from tests.service.api.door import Door, called_here, refused
from tests.service.api.keyed import Keyed, asking_for_keys
from tests.service.jobs import scenes

GOOD_FORM = "l0_" + "A" * 43


# --- with which key


def test_a_key_lets_its_tenant_in(keyed: Keyed) -> None:
    for scope in Scope:
        assert keyed.door("a", scope).http.get("/v1/jobs").status_code == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_word_bearer_may_be_written_as_one_likes(keyed: Keyed, scheme: str) -> None:
    _, key = keyed.key("a")
    assert keyed.stranger.http.get("/v1/jobs", headers={"Authorization": f"{scheme} {key}"}).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer l0_",
        f"Bearer {GOOD_FORM}",
        f"Bearer {GOOD_FORM}x",
        f"Bearer {GOOD_FORM[:-1]}",
        f"Basic {GOOD_FORM}",
        GOOD_FORM,
        "Bearer " + "x" * 4000,
        b"Bearer l0_\xff\xfe",
        "Bearer ' OR 1=1 --",
    ],
)
def test_what_is_no_good_key_is_refused(keyed: Keyed, sent: str | bytes) -> None:
    keyed.key("a")
    value = sent if isinstance(sent, bytes) else sent.encode()
    reply = keyed.stranger.http.get("/v1/jobs", headers=[(b"Authorization", value)])
    refused(reply, 401, "unauthorized")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_two_keys_at_once_are_refused(keyed: Keyed) -> None:
    keys = [("Authorization", f"Bearer {keyed.key('a')[1]}") for _ in range(2)]
    refused(keyed.stranger.http.get("/v1/jobs", headers=keys), 401, "unauthorized")


def test_a_revoked_key_is_refused_once_what_is_known_of_it_is_old(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, key = keyed.key("a")
    door = keyed.door_of(key)
    assert door.http.get("/v1/jobs").status_code == 200
    keyed.revoke(key_id)
    monkeypatch.setattr("service.api.callers.time.monotonic", lambda: 1e9)
    refused(door.http.get("/v1/jobs"), 401, "unauthorized", says="revoked")


def test_a_known_key_is_not_looked_up_again_for_a_while(keyed: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    door = keyed.door("a")
    assert door.http.get("/v1/methods").status_code == 200
    monkeypatch.setattr("service.auth.keys.callers", lambda *_: pytest.fail("it was looked up"))
    assert door.http.get("/v1/methods").status_code == 200


def test_the_stream_of_a_revoked_key_ends(keyed: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.callers.KNOWN_SECONDS", 0.0)
    monkeypatch.setattr("service.api.routes.events._KEEP_ALIVE_SECONDS", 0.05)
    key_id, key = keyed.key("a")
    door = keyed.door_of(key)
    job = door.job(scenes.keep_problem(keyed.system, tenant="a"))
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(door.http.get, job["links"]["events"], headers={"Accept": "text/event-stream"})
        with pytest.raises(TimeoutError):
            stream.result(timeout=0.5)
        keyed.revoke(key_id)
        try:
            text = stream.result(timeout=30).text
        finally:
            keyed.door("a").http.post(f"{job['links']['self']}/cancel")  # a stream that goes on ends with its job
    assert "event: submitted" in text
    assert ": keep-alive" in text
    assert "event: end" not in text


@pytest.mark.parametrize("name", ["api_key", "access_token"])
def test_a_key_in_the_address_is_refused(keyed: Keyed, name: str) -> None:
    _, key = keyed.key("a")
    refused(keyed.stranger.http.get("/v1/jobs", params={name: key}), 401, "unauthorized", says="Authorization: Bearer")
    reply = keyed.door_of(key).http.get("/v1/jobs", params={name: key})
    refused(reply, 422, "invalid_request", pointer=f"/{name}", says="never into an address")
    assert key not in reply.text


def test_the_key_comes_back_in_no_answer(keyed: Keyed) -> None:
    _, key = keyed.key("a")
    door = keyed.door_of(key)
    for reply in (door.http.get("/v1/jobs"), door.http.get("/v1/jobs/job_none"), door.http.post("/v1/jobs", json={})):
        assert key not in reply.text + str(reply.headers)


def test_a_database_that_is_away_is_said_as_such(keyed: Keyed) -> None:
    away = keyed.system.settings.model_copy(update={"database_url": "postgresql+psycopg://l0@127.0.0.1:1/l0"})
    with asking_for_keys(away) as other, capture_logs():
        reply = other.door_of(GOOD_FORM).http.get("/v1/jobs")
    refused(reply, 503, "not_ready")
    assert reply.headers["Retry-After"]


# --- for what


@pytest.mark.parametrize("path", ["/healthz", "/health", "/", "/static/app.js", "/openapi.json"])
def test_what_tells_nothing_of_a_tenant_needs_no_key(keyed: Keyed, path: str) -> None:
    assert keyed.stranger.http.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/nowhere", "/static", "/healthz/", "//v1/jobs"])
def test_what_is_not_there_needs_one_too(keyed: Keyed, path: str) -> None:
    refused(keyed.stranger.http.get(path), 401, "unauthorized")


@pytest.mark.parametrize(("scope", "status"), [(Scope.READ, 403), (Scope.WRITE, 403), (Scope.ADMIN, 200)])
def test_numbers_of_all_tenants_are_for_admins(keyed: Keyed, scope: Scope, status: int) -> None:
    reply = keyed.door("a", scope).http.get("/metrics")
    assert reply.status_code == status
    if status == 403:
        refused(reply, 403, "forbidden", says="scope admin")


def _exchange(keyed: Keyed, *headers: tuple[bytes, bytes]) -> list[MutableMapping[str, Any]]:
    """Send an upload whose body must not be asked for; gives what was answered."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        pytest.fail("the body was read")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/uploads",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/x-npy"), *headers],
    }
    asyncio.run(keyed.app(scope, receive, send))
    return sent


@pytest.mark.parametrize("body", [(b"content-length", b"4294967296"), (b"transfer-encoding", b"chunked")])
def test_a_large_body_of_a_stranger_is_not_read_and_the_connection_is_closed(
    keyed: Keyed, body: tuple[bytes, bytes]
) -> None:
    start, _ = _exchange(keyed, body)
    assert start["status"] == 401
    assert (b"connection", b"close") in start["headers"]


def test_a_connection_goes_on_after_a_small_body_that_was_refused(keyed: Keyed) -> None:
    start, _ = _exchange(keyed, (b"content-length", b"100"))
    assert start["status"] == 401
    assert b"connection" not in dict(start["headers"])


def test_a_large_body_of_one_who_may_only_read_is_not_read(keyed: Keyed) -> None:
    _, key = keyed.key("a", Scope.READ)
    start, _ = _exchange(keyed, (b"authorization", b"Bearer " + key.encode()), (b"content-length", b"4294967296"))
    assert start["status"] == 403


def test_behind_a_proxy_the_public_name_is_taken(keyed: Keyed) -> None:
    assert keyed.door("a").http.get("/v1/jobs", headers={"Host": "l0.example.org"}).status_code == 200


def test_the_document_says_how_a_key_is_sent(keyed: Keyed) -> None:
    document = keyed.stranger.http.get("/openapi.json").json()
    key = document["components"]["securitySchemes"]["key"]
    assert (key["type"], key["scheme"]) == ("http", "bearer")
    assert document["security"] == [{"key": []}, {}]


# --- how often


@pytest.fixture
def slow(keyed: Keyed) -> Iterator[Keyed]:
    """A service that takes three requests a minute."""
    with asking_for_keys(keyed.system.settings.model_copy(update={"quota_requests_a_minute": 3})) as opened:
        yield opened


def test_one_request_too_many_is_refused_and_told_when_to_come_again(slow: Keyed) -> None:
    door, other = slow.door("a"), slow.door("b")
    replies = [door.http.get("/v1/methods") for _ in range(3)]
    assert [reply.headers["RateLimit"] for reply in replies] == [
        '"requests";r=2;t=20',
        '"requests";r=1;t=40',
        '"requests";r=0;t=60',
    ]
    assert {reply.headers["RateLimit-Policy"] for reply in replies} == {'"requests";q=3;w=60'}
    reply = door.http.get("/v1/methods")
    assert refused(reply, 429, "quota_exceeded", says="3 requests a minute")["retryable"]
    assert 1 <= int(reply.headers["Retry-After"]) <= 20
    assert reply.headers["RateLimit"].startswith('"requests";r=0')
    refused(slow.door("a").http.get("/v1/methods"), 429, "quota_exceeded")  # another key of the same tenant
    assert other.http.get("/v1/methods").status_code == 200
    assert door.http.get("/healthz").status_code == 200


def test_a_stranger_takes_nothing_from_anybody(slow: Keyed) -> None:
    door = slow.door("a")
    for _ in range(10):
        refused(slow.stranger.http.get("/v1/methods"), 401, "unauthorized")
        refused(slow.door_of(GOOD_FORM).http.get("/v1/methods"), 401, "unauthorized")
    assert door.http.get("/v1/methods").status_code == 200


def test_where_no_keys_are_asked_for_nobody_is_counted(keyed: Keyed) -> None:
    changed = {"require_keys": False, "quota_requests_a_minute": 1, "quota_active_jobs": 1, "quota_stored_bytes": 1}
    with called_here(keyed.system.settings.model_copy(update=changed)) as door:
        problem = door.listed_problem()
        for _ in range(3):
            door.job(problem)
        assert "RateLimit" not in door.http.get("/v1/jobs").headers


# --- what the log has


def test_a_name_with_line_breaks_begins_no_line_of_the_log(door: Door, problem_id: str) -> None:
    forged = 'x\r\n{"event": "job_succeeded", "job_id": "job_forged", "level": "info"}\r\n'
    job = door.job(problem_id, tags={"name": forged})
    door.http.get(f"/v1/jobs/{quote(forged, safe='')}")
    door.http.get("/v1/jobs", params={forged: forged})
    lines = [json.loads(line) for line in door.log.splitlines()]
    assert job["id"] in [line.get("job_id") for line in lines if line["event"] == "job_submitted"]
    assert "job_forged" not in [line.get("job_id") for line in lines]


def test_the_log_says_which_key_it_was(keyed: Keyed) -> None:
    key_id, key = keyed.key("a")
    problem = scenes.keep_problem(keyed.system, tenant="a")
    with capture_logs(processors=[merge_contextvars]) as logged:
        keyed.door_of(key).job(problem)
    assert {line.get("key_id") for line in logged if line["event"] == "job_submitted"} == {key_id}
    assert key not in str(logged)
