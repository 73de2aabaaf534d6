"""Webhooks over HTTP: where they may go is refused when the job is submitted; the secret; whether one arrived."""

import threading
from functools import partial

import pytest
from sqlalchemy import func, select

from service.auth.guard import ANONYMOUS_TENANT
from service.jobs import lifecycle, outbox
from service.jobs.models import Job
from service.settings import Settings
from tests.service.api.door import Door, called_here, job_body, refused
from tests.service.jobs import scenes
from tests.service.webhooks.receivers import resolve
from tests.service.webhooks.test_destinations import INWARD, MISSHAPEN

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
URL = "https://9.9.9.9/hook"
HOSTILE = [
    "http://127.0.0.1", "http://[::1]", "http://[::ffff:10.0.0.1]", "http://0x7f000001", "http://2130706433",
    "http://127.1", "http://localhost", "https://localhost:6379/", "http://169.254.169.254/latest",
    "http://[64:ff9b::7f00:1]", "http://user:pw@host", "http://\u24dbocalhost", "", " ",
    "http://9.9.9.9/", "//9.9.9.9/",
]  # fmt: skip


def test_every_hostile_url_is_refused_and_no_job_is_made(door: Door, problem_id: str) -> None:
    urls = [*HOSTILE, *MISSHAPEN.values(), *INWARD]
    before = n_jobs(door)
    for url in urls:
        reply = door.http.post("/v1/jobs", json=job_body(problem_id, webhook_url=url))
        refused(reply, 422, "invalid_request", pointer="/webhook_url", says="" if "\0" in url else "webhook_url: ")
    assert n_jobs(door) == before


@pytest.mark.parametrize("value", [7, True, ["https://9.9.9.9/"], {"url": "https://9.9.9.9/"}])
def test_a_url_is_a_text(door: Door, problem_id: str, value: object) -> None:
    reply = door.http.post("/v1/jobs", json=job_body(problem_id, webhook_url=value))
    refused(reply, 422, "invalid_request", pointer="/webhook_url")


def n_jobs(door: Door) -> int:
    with door.system.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def test_a_url_is_kept_and_shown(door: Door, problem_id: str) -> None:
    job = door.job(problem_id, webhook_url=URL)
    assert job["webhook_url"] == URL
    assert door.http.get(job["links"]["self"]).json()["webhook_url"] == URL
    assert door.job(problem_id)["webhook_url"] is None


@_ON_SQLITE
def test_a_name_that_leads_inward_is_refused(inside: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"good.example": ["9.9.9.9"], "metadata.internal": ["169.254.169.254"]})
    problem_id = inside.listed_problem()
    assert inside.job(problem_id, webhook_url="https://good.example/x")["status"] == "pending"
    for name, says in {"metadata.internal": "not of the public internet", "nobody.example": "has no address"}.items():
        reply = inside.http.post("/v1/jobs", json=job_body(problem_id, webhook_url=f"https://{name}/x"))
        refused(reply, 422, "invalid_request", pointer="/webhook_url", says=says)


@_ON_SQLITE
def test_a_network_that_the_operator_lists_is_open(settings: Settings) -> None:
    listed = settings.model_copy(update={"webhook_allowed_networks": "127.0.0.0/8"})
    with called_here(listed) as opened:
        problem_id = opened.listed_problem()
        assert opened.job(problem_id, webhook_url="http://127.0.0.1:9/x")["status"] == "pending"
        reply = opened.http.post("/v1/jobs", json=job_body(problem_id, webhook_url="http://10.0.0.1/x"))
        refused(reply, 422, "invalid_request", pointer="/webhook_url", says="must begin with https://")


@_ON_SQLITE
def test_a_name_server_that_hangs_is_not_waited_for(inside: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr("service.webhooks.names.socket.getaddrinfo", lambda *_, **__: answered.wait() and [])
    reply = inside.http.post("/v1/jobs", json=job_body(inside.listed_problem(), webhook_url="https://slow.example/"))
    refused(reply, 422, "invalid_request", pointer="/webhook_url", says="could not be looked up")
    answered.set()


@_ON_SQLITE
def test_another_url_with_the_same_key_is_another_request(inside: Door) -> None:
    body, key = job_body(inside.listed_problem()), {"Idempotency-Key": "k"}
    first, again = (inside.http.post("/v1/jobs", json={**body, "webhook_url": URL}, headers=key) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    refused(inside.http.post("/v1/jobs", json=body, headers=key), 422, "idempotency_key_reused")


# --- the secret


def test_the_secret_stays_until_it_is_rotated(inside: Door) -> None:
    first, again = (inside.http.get("/v1/webhooks/secret") for _ in range(2))
    assert first.json() == again.json()
    assert first.headers["Cache-Control"] == "no-store"
    assert first.json()["secret"].startswith("whsec_")
    rotated = inside.http.post("/v1/webhooks/secret/rotate")
    assert (rotated.status_code, rotated.headers["Cache-Control"]) == (200, "no-store")
    assert rotated.json()["secret"] != first.json()["secret"]
    assert inside.http.get("/v1/webhooks/secret").json() == rotated.json()


def test_the_secret_is_what_messages_are_signed_with(inside: Door) -> None:
    job = inside.job(inside.listed_problem(), webhook_url=URL)
    cancelled = partial(lifecycle.cancel, tenant=ANONYMOUS_TENANT, job_id=job["id"])
    scenes.write(inside.system, cancelled)
    with inside.system.database.reading() as session:
        (asked,) = outbox.due(session, 10)
    delivery = scenes.write(inside.system, lambda session: outbox.take(session, asked, 30.0))
    assert delivery is not None
    assert delivery.secrets == [inside.http.get("/v1/webhooks/secret").json()["secret"]]


# --- whether it arrived


def test_whether_a_webhook_arrived_is_told(inside: Door) -> None:
    job = inside.job(inside.listed_problem(), webhook_url=URL)
    place = f"{job['links']['self']}/webhook"
    refused(inside.http.get(place), 404, "not_found", says="has not ended")
    inside.http.post(job["links"]["cancel"])
    waiting = inside.http.get(place).json()
    assert (waiting["url"], waiting["tries"], waiting["delivered_at"]) == (URL, 0, None)
    assert waiting["due_at"] is not None
    with inside.system.database.reading() as session:
        (asked,) = outbox.due(session, 10)
    delivery = scenes.write(inside.system, lambda session: outbox.take(session, asked, 30.0))
    assert delivery is not None
    scenes.write(inside.system, partial(outbox.note_delivered, delivery=delivery))
    told = inside.http.get(place).json()
    assert (told["id"], told["tries"], told["due_at"]) == (waiting["id"], 1, None)
    assert told["delivered_at"] is not None


def test_a_job_is_deleted_with_its_message(inside: Door) -> None:
    job = inside.job(inside.listed_problem(), webhook_url=URL)
    inside.http.post(job["links"]["cancel"])
    assert inside.http.delete(job["links"]["self"]).status_code == 204
    with inside.system.database.reading() as session:
        assert (outbox.counts(session), outbox.due(session, 10)) == ({}, [])


@_ON_SQLITE
def test_a_retry_tells_the_same_webhook(inside: Door) -> None:
    job = inside.job(inside.listed_problem(), webhook_url=URL)
    inside.http.post(job["links"]["cancel"])
    assert inside.http.post(f"{job['links']['self']}/retry").json()["webhook_url"] == URL


@_ON_SQLITE
def test_there_is_no_webhook_of_a_job_of_another_tenant(inside: Door) -> None:
    job = inside.job(inside.listed_problem(), webhook_url=URL)
    inside.http.post(job["links"]["cancel"])
    scenes.set_columns(inside.system, job["id"], tenant="tenant-b")
    refused(inside.http.get(f"{job['links']['self']}/webhook"), 404, "not_found")
    refused(inside.http.get("/v1/jobs/job_nobody/webhook"), 404, "not_found")
