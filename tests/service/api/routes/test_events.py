"""Events over HTTP: every one once and in order, in pages and in a stream that can be taken up again."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from service.auth.guard import ANONYMOUS_TENANT
from service.jobs import lifecycle, traces
from service.jobs.models import Event
from service.jobs.values import Batch, EventNote
from tests.service.api.door import Door, refused
from tests.service.api.endings import Finished, claimed, told

_STREAM = {"Accept": "text/event-stream"}


def _page(door: Door, url: str, **query: Any) -> dict[str, Any]:
    reply = door.http.get(url, params=query)
    assert reply.status_code == 200, reply.text
    page: dict[str, Any] = reply.json()
    return page


def test_a_new_job_has_one_event(door: Door, problem_id: str) -> None:
    page = _page(door, door.job(problem_id)["links"]["events"])
    (event,) = page["data"]
    assert (event["seq"], event["type"], event["message"]) == (1, "submitted", "calibration job submitted")
    assert (page["next_cursor"], page["has_more"]) == (1, False)


def test_pages_hold_every_event_once(door: Door, finished: Finished) -> None:
    url = f"{finished.url}/events"
    whole = _page(door, url, limit=1000)["data"]
    assert [event["seq"] for event in whole] == list(range(1, len(whole) + 1))
    assert (whole[0]["type"], whole[1]["type"], whole[-1]["type"]) == ("submitted", "started", "succeeded")
    seen: list[dict[str, Any]] = []
    after, more = 0, True
    while more:
        page = _page(door, url, limit=3, after=after)
        seen += page["data"]
        after, more = page["next_cursor"], page["has_more"]
    assert seen == whole
    assert _page(door, url, after=after) == {"data": [], "next_cursor": after, "has_more": False}


def test_an_event_carries_its_data(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    note = EventNote(type="finding", message="two\nlines\r\n\ndata: x", data={"code": "no_support", "seq": 99})
    told(door.system, claimed(door.system, job["id"]), Batch(events=[note]))
    event = _page(door, job["links"]["events"])["data"][-1]
    assert (event["seq"], event["message"], event["code"]) == (3, note.message, "no_support")
    door.http.post(job["links"]["cancel"])


def test_waiting_ends_with_the_next_event(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_page, door, job["links"]["events"], after=1, wait=25)
        door.http.post(job["links"]["cancel"])
        assert [event["type"] for event in waiting.result()["data"]] == ["cancelled"]
    assert _page(door, job["links"]["events"], after=2, wait=25)["data"] == []  # ended: nothing to wait for


def test_an_end_while_events_are_read_is_not_missed(inside: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    job = inside.job(inside.listed_problem())
    read = traces.events_after

    def read_then_cancel(*asked: Any) -> list[Event]:
        rows = read(*asked)
        with inside.system.database.transaction() as session:
            lifecycle.cancel(session, ANONYMOUS_TENANT, job["id"])
        return rows

    monkeypatch.setattr(traces, "events_after", read_then_cancel)
    page = _page(inside, job["links"]["events"], after=1, wait=25)
    assert [event["type"] for event in page["data"]] == ["cancelled"]


@pytest.mark.parametrize(
    ("query", "pointer"), [({"after": -1}, "/after"), ({"limit": 0}, "/limit"), ({"limit": 1001}, "/limit")]
)
def test_a_bad_question_is_refused_and_named(
    door: Door, finished: Finished, query: dict[str, Any], pointer: str
) -> None:
    refused(door.http.get(f"{finished.url}/events", params=query), 422, "invalid_request", pointer=pointer)


def test_a_number_beyond_64_bits_is_no_500(door: Door, finished: Finished) -> None:
    assert door.http.get(f"{finished.url}/events", params={"after": 10**20}).status_code in (200, 422)


# --- the stream


def _messages(lines: Iterator[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Give (id, event, data) of each message of a stream."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            assert name in ("id", "event", "data", "")
            fields[name] = value
        elif "data" in fields:
            yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}


def _streamed(door: Door, url: str, *, at_most: int = 10**6, **headers: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Read a stream to its end, or drop the connection after some messages."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with door.http.stream("GET", url, headers=_STREAM | named) as reply:
        assert reply.status_code == 200
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        assert reply.headers["Cache-Control"] == "no-cache"
        messages = _messages(reply.iter_lines())
        return [message for _, message in zip(range(at_most), messages, strict=False)]


def test_the_stream_of_an_ended_job_is_its_events_and_an_end(door: Door, finished: Finished) -> None:
    url = f"{finished.url}/events"
    whole = _page(door, url, limit=1000)["data"]
    *messages, end = _streamed(door, url)
    assert [data for _, _, data in messages] == whole
    assert [(number, kind) for number, kind, _ in messages] == [(event["seq"], event["type"]) for event in whole]
    assert end == (len(whole), "end", {"status": "succeeded"})


@pytest.mark.parametrize("taken", [1, 2, 5])
def test_a_stream_that_broke_off_goes_on_without_loss_or_repeat(door: Door, finished: Finished, taken: int) -> None:
    url = f"{finished.url}/events"
    first = _streamed(door, url, at_most=taken)
    rest = _streamed(door, url, Last_Event_ID=str(first[-1][0]))
    assert first + rest == _streamed(door, url)


def test_after_the_last_event_there_is_only_the_end(door: Door, finished: Finished) -> None:
    url = f"{finished.url}/events"
    *_, end = _streamed(door, url)
    assert _streamed(door, url, Last_Event_ID=str(end[0])) == [end]
    assert _streamed(door, f"{url}?after={end[0]}") == [end]


def test_a_stream_follows_a_living_job_to_its_end(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    with door.http.stream("GET", job["links"]["events"], headers=_STREAM) as reply:
        messages = _messages(reply.iter_lines())
        assert next(messages)[1] == "submitted"
        held = claimed(door.system, job["id"])
        assert next(messages)[:2] == (2, "started")
        told(door.system, held, Batch(events=[EventNote(type="stage", message="selecting")]))
        assert next(messages)[2]["message"] == "selecting"
        door.http.post(job["links"]["cancel"])
        assert next(messages)[1] == "cancel_requested"


def test_a_message_with_line_breaks_stays_one_message(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    note = EventNote(type="finding", message="a\nb\r\n\nevent: end\ndata: {}\n\n\u2028", data={})
    told(door.system, claimed(door.system, job["id"]), Batch(events=[note]))
    assert _streamed(door, job["links"]["events"], at_most=3)[-1][2]["message"] == note.message


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "9" * 19, ""])
def test_a_last_event_id_that_is_no_number_is_refused(door: Door, finished: Finished, number: str) -> None:
    headers = {**_STREAM, "Last-Event-ID": number}
    reply = door.http.get(f"{finished.url}/events", headers=headers)
    refused(reply, 422, "invalid_request", pointer="/last-event-id")


def test_many_readers_that_leave_leave_nothing_open(door: Door, problem_id: str) -> None:
    url = door.job(problem_id)["links"]["events"]

    def leave(_: int) -> None:
        with httpx.Client(base_url=door.http.base_url) as http, http.stream("GET", url, headers=_STREAM) as reply:
            assert next(_messages(reply.iter_lines()))[1] == "submitted"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(leave, range(40)))
    assert door.http.get("/healthz").status_code == 200
