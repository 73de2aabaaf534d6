"""Streams that break: a download goes on where it was, events go on after the last one, damage is never kept."""

import base64
import hashlib
from pathlib import Path

import httpx
import pytest

from service.client import ClientError, DamagedDownload
from service.client.following import Following
from tests.service.client.flaky import DROPPED, QUICK, Answer, busy, flaky, problem

FILE = bytes(range(256)) * 40
ETAG = '"sha256-abc"'
DIGEST = base64.b64encode(hashlib.sha256(FILE).digest()).decode()
WHOLE = {"ETag": ETAG, "Content-Digest": f"sha-256=:{DIGEST}:"}


def whole(*, sent: int | None = None, body: bytes = FILE) -> Answer:
    return Answer(body=body, headers=WHOLE, sent=sent)


def rest(first: int, *, sent: int | None = None) -> Answer:
    said = WHOLE | {"Content-Range": f"bytes {first}-{len(FILE) - 1}/{len(FILE)}"}
    return Answer(status=206, body=FILE[first:], headers=said, sent=sent)


def test_a_download_goes_on_where_the_connection_broke(tmp_path: Path) -> None:
    with flaky(DROPPED, whole(sent=4000), busy(), rest(4000, sent=1000), rest(5000)) as (client, asked):
        written = client.job("job_1").download("report.html", tmp_path)
    assert written.read_bytes() == FILE
    assert [one.headers.get("range") for one in asked] == [None, None, *["bytes=4000-"] * 2, "bytes=5000-"]
    assert {one.headers.get("if-range") for one in asked[2:]} == {ETAG}


def test_a_download_begins_anew_where_the_whole_comes(tmp_path: Path) -> None:
    with flaky(whole(sent=4000, body=FILE[::-1]), whole()) as (client, _):
        assert client.job("job_1").download("x", tmp_path / "x").read_bytes() == FILE


def test_damaged_bytes_are_not_kept(tmp_path: Path) -> None:
    with flaky(whole(body=FILE[:-1] + b"x")) as (client, _), pytest.raises(DamagedDownload, match="x: sha-256"):
        client.job("job_1").download("x", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_never_comes_on_is_given_up_and_leaves_nothing(tmp_path: Path) -> None:
    with flaky(whole(sent=0)) as (client, asked), pytest.raises(httpx.RemoteProtocolError):
        client.job("job_1").download("x", tmp_path)
    assert (len(asked), list(tmp_path.iterdir())) == (QUICK.tries, [])


def test_a_file_that_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with flaky(problem(410, "expired")) as (client, _), pytest.raises(ClientError, match="410 expired"):
        client.job("job_1").download("x", tmp_path)
    assert (tmp_path / "x").read_bytes() == b"old"


# --- events


def told(*numbers: int) -> bytes:
    return b"".join(b'id: %d\nevent: stage\ndata: {"seq": %d}\n\n' % (number, number) for number in numbers)


def stream(body: bytes, *, sent: int | None = None) -> Answer:
    return Answer(body=body, headers={"Content-Type": "text/event-stream"}, sent=sent, length=sent is not None)


END = b'id: 4\nevent: end\ndata: {"status": "succeeded"}\n\n'


def test_events_are_followed_over_broken_connections_without_a_gap_or_a_repeat() -> None:
    half, cut = told(1, 2) + b"i", len(told(3)) + 5
    answers = (stream(half), DROPPED, busy(), stream(told(3, 4), sent=cut), stream(b": keep-alive\n\n" + told(4) + END))
    with flaky(*answers) as (client, asked):
        events = list(client.job("job_1").events(follow=True))
    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    assert [one.headers.get("last-event-id") for one in asked] == [None, "2", "2", "2", "3"]
    assert {one.headers["accept"] for one in asked} == {"text/event-stream"}


def test_events_are_followed_from_a_number() -> None:
    with flaky(stream(told(4) + END)) as (client, asked):
        assert [event["seq"] for event in client.job("job_1").events(after=3, follow=True)] == [4]
    assert asked[0].headers["last-event-id"] == "3"


def test_a_stream_that_says_nothing_is_given_up() -> None:
    with flaky(stream(b"")) as (client, asked), pytest.raises(httpx.RemoteProtocolError, match="closed a stream"):
        list(client.job("job_1").events(follow=True))
    assert len(asked) == QUICK.tries


def test_the_events_of_no_job_are_refused() -> None:
    with flaky(problem(404, "not_found")) as (client, asked), pytest.raises(ClientError, match="404 not_found"):
        list(client.job("job_1").events(follow=True))
    assert len(asked) == 1


def test_an_event_may_arrive_in_any_pieces() -> None:
    following, body = Following("job_1", 0), told(1, 2) + END
    events = [event["seq"] for i in range(len(body)) for event in following.feed(body[i : i + 1])]
    assert (events, following.is_over) == ([1, 2], True)
