"""What Prometheus is told: each number against a real state of the tables, and an answer whatever is away."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.orm import Session

from service.api import exposition
from service.api.app import create_app
from service.db.base import database_now
from service.jobs import outbox, workers
from service.jobs.outbox import Delivery
from service.jobs.values import Batch, WorkerIdentity
from service.settings import Settings
from service.system import System
from tests.service.api.door import Door, called_here, problem_body, refused, until
from tests.service.jobs import scenes

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_AWAY = "postgresql+psycopg://l0@/l0?host=/nowhere"
Numbers = dict[tuple[str, ...], float]


def scraped(door: Door) -> dict[str, Numbers]:
    """Give every sample by name, then by the values of its labels in the order of their names."""
    reply = door.http.get("/metrics")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found: dict[str, Numbers] = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            place = tuple(value for _, value in sorted(sample.labels.items()))
            assert place not in found.setdefault(sample.name, {})
            found[sample.name][place] = sample.value
    return found


def present(numbers: Numbers) -> Numbers:
    """Give the numbers that are not zero."""
    return {place: value for place, value in numbers.items() if value}


@pytest.fixture
def _counted_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "_TOTALS_SECONDS", 0.0)


def some_of_every_state(system: System) -> None:
    """Leave 2 + 1 jobs pending, 1 held, 1 lost, 2 succeeded, 2 + 1 failed by code, 1 cancelled; 8 attempts."""
    old, _ = scenes.submitted(system), scenes.submitted(system)
    scenes.set_columns(system, old, created_at=database_now() - 500.0)
    scenes.submitted(system, device="cuda")
    scenes.running(system)
    lost = scenes.running(system)
    scenes.set_columns(system, lost.job_id, attempt=2)
    scenes.expire(system, lost.job_id)
    for epoch in (30, 12):
        scenes.succeed(system, scenes.running(system), Batch(progress={"epoch": epoch, "epochs": 40}))
    for _ in range(2):
        scenes.fail(system, scenes.running(system), scenes.NO_RETRY, Batch(progress={"epoch": None, "epochs": 40}))
    scenes.fail(system, scenes.running(system, max_attempts=1), replace(scenes.RETRY, code="odd_one"))
    scenes.cancel(system, scenes.submitted(system))


def see(system: System, worker: WorkerIdentity) -> None:
    """Let a worker be seen now."""
    scenes.write(system, lambda session: workers.see_worker(session, worker))


@pytest.mark.usefixtures("_counted_each_time")
def test_each_number_is_what_the_tables_hold(inside: Door) -> None:
    some_of_every_state(inside.system)
    told = scraped(inside)
    assert present(told["l0_jobs"]) == {
        ("cpu", "pending"): 2,
        ("gpu", "pending"): 1,
        ("cpu", "running"): 2,
        ("cpu", "succeeded"): 2,
        ("cpu", "failed"): 3,
        ("cpu", "cancelled"): 1,
    }
    assert len(told["l0_jobs"]) == 10
    ages = told["l0_oldest_pending_seconds"]
    assert ages["cpu",] >= 500 > ages["gpu",] >= 0
    assert told["l0_leases"] == {("held",): 1, ("expired",): 1}
    assert present(told["l0_failed_jobs"]) == {("diverged",): 2, ("odd_one",): 1}
    assert told["l0_failed_jobs"]["worker_lost",] == 0
    assert (told["l0_attempts"], told["l0_epochs"]) == ({(): 8}, {(): 42})
    assert told["l0_database_up"] == {(): 1}


@pytest.mark.usefixtures("_counted_each_time")
def test_an_empty_table_is_told_as_zeros(inside: Door) -> None:
    told = scraped(inside)
    for name in ("l0_jobs", "l0_oldest_pending_seconds", "l0_leases", "l0_workers", "l0_failed_jobs", "l0_webhooks"):
        assert told[name]
        assert present(told[name]) == {}
    assert (told["l0_attempts"], told["l0_epochs"]) == ({(): 0}, {(): 0})


@pytest.mark.usefixtures("_counted_each_time")
def test_messages_to_webhooks_are_counted_by_what_became_of_them(inside: Door) -> None:
    for _ in range(4):
        scenes.succeed(inside.system, scenes.running(inside.system, webhook_url="https://9.9.9.9/"))
    with inside.system.database.reading() as session:
        asked = outbox.due(session, 3)
    for notes, due in zip((outbox.note_delivered, _give_up, _give_up), asked, strict=True):
        delivery = scenes.write(inside.system, partial(outbox.take, asked=due, seconds=30.0))
        assert delivery is not None
        scenes.write(inside.system, partial(notes, delivery=delivery))
    counted = {("waiting",): 1, ("delivered",): 1, ("given_up",): 2}
    until(lambda: scraped(inside).get("l0_webhooks") == counted)  # a busy machine may not count in time


def _give_up(session: Session, delivery: Delivery) -> None:
    outbox.note_failed(session, delivery, None)


def test_workers_are_counted_by_queue_and_type_of_device(inside: Door) -> None:
    scenes.submitted(inside.system)
    scenes.submitted(inside.system, device="cuda")
    assert scraped(inside)["l0_jobs_without_worker"] == {("cpu",): 1, ("gpu",): 1}
    see(inside.system, scenes.WORKER)
    see(inside.system, scenes.OTHER_WORKER)
    assert scraped(inside)["l0_jobs_without_worker"] == {("cpu",): 0, ("gpu",): 1}
    for number in range(2):
        worker = replace(scenes.WORKER, id=f"wrk_g{number}", queues=("gpu", "cpu"), device=f"cuda:{number}")
        see(inside.system, worker)
    told = scraped(inside)
    assert told["l0_workers"] == {("cpu", "cpu"): 2, ("cuda", "cpu"): 2, ("cuda", "gpu"): 2}
    assert told["l0_jobs_without_worker"] == {("cpu",): 0, ("gpu",): 0}


@_ON_SQLITE
def test_what_reads_the_whole_table_is_read_once_in_a_while(inside: Door) -> None:
    scenes.fail(inside.system, scenes.running(inside.system))
    first = scraped(inside)
    scenes.fail(inside.system, scenes.running(inside.system))
    second = scraped(inside)
    assert [told["l0_jobs"]["cpu", "failed"] for told in (first, second)] == [1, 2]
    assert first["l0_attempts"] == second["l0_attempts"]
    assert first["l0_failed_jobs"] == second["l0_failed_jobs"]


@_ON_SQLITE
def test_the_broker_and_the_disks_are_told(inside: Door) -> None:
    scenes.submitted(inside.system)
    told = scraped(inside)
    assert told["l0_broker_up"] == {(): 1}
    waiting = inside.system.dispatcher.waiting_ids()
    assert told["l0_broker_waiting_ids"] == {(queue,): number for queue, number in waiting.items()}
    assert told["l0_broker_waiting_ids"]["cpu",] >= 1
    for holds in ("files", "database"):
        assert told["l0_disk_size_bytes"][holds,] >= told["l0_disk_free_bytes"][holds,] > 0


@_ON_SQLITE
def test_ids_that_could_not_be_sent_are_counted(settings: Settings) -> None:
    with called_here(settings.model_copy(update={"broker_url": "redis+socket:///nowhere.sock"})) as door:
        door.job(door.listed_problem())
        told = scraped(door)
    assert told["l0_publish_failures_total"] == {(): 1}
    assert told["l0_broker_up"] == {(): 0}


@_ON_SQLITE
def test_a_database_that_is_away_is_told_and_nothing_else_fails(settings: Settings) -> None:
    with called_here(settings.model_copy(update={"database_url": _AWAY})) as door:
        told = scraped(door)
        assert "nowhere" not in door.http.get("/metrics").text
    assert told["l0_database_up"] == {(): 0}
    assert "l0_jobs" not in told
    assert told["l0_broker_up"] == {(): 1}


@_ON_SQLITE
def test_a_database_that_says_nothing_holds_no_scrape_up_nor_the_next(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://l0@127.0.0.1:{silent.getsockname()[1]}/l0"
        with called_here(settings.model_copy(update={"database_url": url})) as door:
            assert [scraped(door)["l0_database_up"] for _ in range(2)] == [{(): 0}] * 2


def test_requests_are_counted_by_template_not_by_id(inside: Door) -> None:
    for number in range(3):
        inside.http.get(f"/v1/jobs/job_{number}")
        inside.http.get(f"/made/up/{number}")
        inside.http.request(f"ODD{number}", "/healthz")
    inside.http.get("/static/app.js")
    told = scraped(inside)
    assert told["l0_http_requests_total"] == {
        ("GET", "/v1/jobs/{job_id}", "404"): 3,
        ("GET", "unmatched", "404"): 3,
        ("other", "/healthz", "405"): 3,
        ("GET", "/static", "200"): 1,
    }
    assert told["l0_http_request_seconds_count"]["GET", "/v1/jobs/{job_id}"] == 3
    assert scraped(inside)["l0_http_requests_total"]["GET", "/metrics", "200"] == 1


@_ON_SQLITE
def test_who_asks_to_wait_is_not_timed(inside: Door) -> None:
    job_id = inside.job(inside.listed_problem())["id"]
    inside.http.get(f"/v1/jobs/{job_id}?wait=0.01")
    inside.http.post("/v1/jobs", json={}, headers={"Prefer": "wait=1"})
    told = scraped(inside)
    assert told["l0_http_requests_total"]["GET", "/v1/jobs/{job_id}", "200"] == 1
    assert told["l0_http_request_seconds_count"] == {("POST", "/v1/jobs"): 1}


@_ON_SQLITE
def test_bytes_of_uploads_are_counted(inside: Door) -> None:
    inside.http.post("/v1/uploads", content=b"x" * 100_000, headers={"Content-Type": "application/x-npy"})
    body = inside.http.build_request("POST", "/v1/problems", json=problem_body()).read()
    inside.http.post("/v1/problems", content=body, headers={"Content-Type": "application/json"})
    told = scraped(inside)["l0_http_request_body_bytes_total"]
    assert told == {("/v1/uploads",): 100_000, ("/v1/problems",): len(body)}


@pytest.fixture
def pending(door: Door) -> Iterator[str]:
    """The path of the events of a job that does not end, on a real server."""
    job_id = door.job(door.listed_problem())["id"]
    yield f"/v1/jobs/{job_id}/events"
    door.http.post(f"/v1/jobs/{job_id}/cancel")


def test_open_streams_are_counted_until_they_are_left(door: Door, pending: str) -> None:
    before = scraped(door)["l0_event_streams"][()]
    with (
        httpx.Client(base_url=door.http.base_url, timeout=60) as other,
        other.stream("GET", pending, headers={"Accept": "text/event-stream"}) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines)
        assert scraped(door)["l0_event_streams"] == {(): before + 1}
    until(lambda: scraped(door)["l0_event_streams"] == {(): before})
    assert "l0_http_request_seconds_bucket" in scraped(door)


def test_another_host_is_not_told(door: Door) -> None:
    refused(door.http.get("/metrics", headers={"Host": "evil.example"}), 421, "misdirected_request")


@_ON_SQLITE
def test_two_applications_of_one_process_count_apart(settings: Settings) -> None:
    first, second = create_app(settings), create_app(settings)
    assert first.state.instruments.registry is not second.state.instruments.registry
    for app in (first, second):
        app.state.system.database.dispose()
