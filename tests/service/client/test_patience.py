"""What is tried again and what never is, counted by the service that was asked."""

import time
from collections.abc import Callable

import httpx
import numpy as np
import pytest

from service.client import Client, ClientError, Patience
from service.client.calls import as_object, get
from service.client.patience import Trying
from tests.service.client.flaky import DROPPED, QUICK, Answer, busy, flaky, problem

JOB = Answer(status=202, body=b'{"id": "job_1"}')
UPLOAD = Answer(status=201, body=b'{"id": "upl_1"}')
PASSING = {
    "dropped": DROPPED,
    "429": busy(429, code="quota_exceeded"),
    "502": Answer(status=502, body=b"<h1>Bad gateway</h1>"),
    "503": busy(),
    "504": Answer(status=504),
    "half a reply": Answer(body=b'{"id": "job_1"}', sent=5),
}
REPEATED: dict[str, tuple[Callable[[Client], object], Answer]] = {
    "GET": (lambda client: client.capabilities(), Answer()),
    "DELETE": (lambda client: client.job("job_1").delete(), Answer(status=204, body=b"")),
    "an upload": (lambda client: client.upload(np.ones(3)), UPLOAD),
    "POST of a job": (lambda client: client.submit("prb_1", epochs=1), JOB),
    "POST of a job by hand": (lambda client: client.request("POST", "/v1/jobs", json={}), JOB),
    "an upload by hand": (lambda client: client.request("POST", "/v1/uploads", content=[b"some ", b"bytes"]), UPLOAD),
}
NEVER: dict[str, Callable[[Client], object]] = {
    "cancel": lambda client: client.job("job_1").cancel(),
    "retry": lambda client: client.job("job_1").retry(),
    "retry with a key": lambda client: client.job("job_1").retry(idempotency_key="mine"),
    "any other": lambda client: client.request("POST", "/v1/x", json={}),
    "a problem": lambda client: client.problem("upl_1", "upl_2"),
    "a prediction": lambda client: client.request("POST", "/v1/jobs/job_1/predictions", json={}),
}


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("act", REPEATED)
def test_what_may_be_repeated_is_until_it_is_answered(act: str, fault: str) -> None:
    do, answer = REPEATED[act]
    with flaky(PASSING[fault], PASSING[fault], answer) as (client, asked):
        do(client)
    assert len(asked) == 3
    assert len({(one.method, one.path, one.body) for one in asked}) == 1


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("act", NEVER)
def test_no_other_post_is_ever_sent_twice(act: str, fault: str) -> None:
    with flaky(PASSING[fault], Answer(body=b'{"id": "job_1"}')) as (client, asked):
        with pytest.raises((ClientError, httpx.TransportError)):
            NEVER[act](client)
        assert len(asked) == 1


def test_every_try_of_a_submission_carries_the_same_key_and_every_submission_another() -> None:
    with flaky(DROPPED, busy(), JOB) as (client, asked):
        assert client.submit("prb_1").id == "job_1"
        client.submit("prb_1")
        client.submit("prb_1", idempotency_key="mine")
        client.request("POST", "/v1/jobs", json={}, headers={"idempotency-key": "mine"})
    first, second, third, other, mine, mine_by_hand = [one.headers["idempotency-key"] for one in asked]
    assert first == second == third != other
    assert len(first) == 36
    assert mine == mine_by_hand == "mine"


def test_what_can_be_read_only_once_is_not_sent() -> None:
    with flaky(UPLOAD) as (client, asked), pytest.raises(TypeError, match="content can be read only once"):
        client.request("POST", "/v1/uploads", content=iter([b"bytes"]))
    assert asked == []


def test_a_submission_waits_for_an_earlier_try_that_is_under_way() -> None:
    with flaky(DROPPED, problem(409, "idempotency_in_flight"), JOB) as (client, asked):
        assert client.submit("prb_1").id == "job_1"
        assert len(asked) == 3


def test_another_conflict_stands() -> None:
    with flaky(problem(409, "in_use")) as (client, asked), pytest.raises(ClientError, match="409 in_use"):
        client.submit("prb_1")
    assert len(asked) == 1


def test_a_refusal_is_not_asked_again() -> None:
    with flaky(problem(422, "invalid_request")) as (client, asked), pytest.raises(ClientError, match="422"):
        client.capabilities()
    assert len(asked) == 1


def test_what_was_deleted_by_a_try_whose_reply_was_lost_is_deleted() -> None:
    gone = problem(404, "not_found")
    with flaky(DROPPED, gone) as (client, _):
        client.job("job_1").delete()
    with flaky(gone) as (client, _), pytest.raises(ClientError, match="404"):
        client.job("job_1").delete()


def test_a_service_that_stays_busy_is_given_up() -> None:
    with flaky(busy()) as (client, asked), pytest.raises(ClientError, match="503 not_ready: said so"):
        client.capabilities()
    assert len(asked) == QUICK.tries


def test_no_service_is_httpx_own_error() -> None:
    with Client("http://127.0.0.1:1", patience=QUICK) as client, pytest.raises(httpx.ConnectError):
        client.capabilities()


def test_a_wrong_address_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with Client("ftp://nowhere") as client, pytest.raises(httpx.UnsupportedProtocol):
        client.capabilities()
    assert slept == []


def test_an_answer_of_something_else_is_an_error_in_words() -> None:
    forbidden = Answer(status=403, body=b"<h1>Proxy says no</h1>", headers={"Content-Type": "text/html"})
    with flaky(forbidden) as (client, _), pytest.raises(ClientError, match="403 http_error: <h1>Proxy says no"):
        client.capabilities()


# --- how long is waited


def paused(patience: Patience, *outcomes: httpx.Response | httpx.TransportError) -> list[float | None]:
    trying = Trying(patience)
    return [trying.pause(get("/x", as_object), outcome) for outcome in outcomes]


def test_pauses_double_up_to_a_limit_less_a_random_part() -> None:
    broken = httpx.ConnectError("refused")
    full = Patience(tries=6, first_seconds=1.0, longest_seconds=5.0, random=lambda: 1.0)
    assert paused(full, *[broken] * 6) == [1.0, 2.0, 4.0, 5.0, 5.0, None]
    half = Patience(tries=3, first_seconds=1.0, random=lambda: 0.0)
    assert paused(half, *[broken] * 3) == [0.5, 1.0, None]


def test_the_service_says_how_long() -> None:
    assert paused(Patience(), httpx.Response(503, headers={"Retry-After": "7"})) == [7.0]


def test_nobody_waits_longer_than_the_limit_of_all() -> None:
    later = httpx.Response(503, headers={"Retry-After": "70"})
    assert paused(Patience(total_seconds=100.0), later, later) == [70.0, None]


def test_a_date_to_come_back_at_is_understood() -> None:
    past = busy(retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    with flaky(past, Answer(), patience=Patience(first_seconds=60)) as (client, _):
        assert client.capabilities() == {}
