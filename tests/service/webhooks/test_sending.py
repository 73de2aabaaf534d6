"""One POST: to the address that was checked, over a certificate of the name, bounded whatever the other side does."""

import socket
import threading
import time
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from service.webhooks.errors import BadDestination, NoAnswer
from service.webhooks.sending import final_status, post
from tests.service.webhooks.receivers import listening, receiver, resolve, trusted_context

HOME = (ip_network("127.0.0.0/8"),)
SECONDS = 0.5


def sent(url: str, *, seconds: float = 10.0) -> int:
    return post(url, b"{}", {"webhook-id": "msg_1"}, networks=HOME, seconds=seconds)


def test_the_request_arrives_as_it_was_sent() -> None:
    with receiver(202) as hook:
        assert post(hook.url, b'{"a":1}', {"webhook-id": "msg_1"}, networks=HOME) == 202
    (came,) = hook.received
    assert (came.method, came.path, came.body) == ("POST", "/hooks?run=1", b'{"a":1}')
    assert came.headers["host"] == f"127.0.0.1:{hook.port}"
    assert came.headers["content-type"] == "application/json"
    assert came.headers["webhook-id"] == "msg_1"


@pytest.mark.parametrize("status", [200, 301, 302, 307, 308, 404, 410, 500])
def test_a_redirect_is_an_answer_like_any_other(status: int) -> None:
    with receiver() as elsewhere, receiver(status, location=elsewhere.url) as hook:
        assert sent(hook.url) == status
    assert len(hook.received) == 1
    assert elsewhere.received == []


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as hook:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert sent(hook.url) == 204
    assert proxy.received == []


# --- names


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere each time it is asked is asked once."""
    with receiver() as hook:
        asked = resolve(monkeypatch, {"hooks.example": ["127.0.0.1"]})
        assert sent(f"http://hooks.example:{hook.port}/x") == 204
    assert asked == ["hooks.example"]
    assert hook.received[0].headers["host"] == f"hooks.example:{hook.port}"


def test_a_name_that_leads_elsewhere_by_now_gets_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as hook:
        resolve(monkeypatch, {"hooks.example": ["127.0.0.1"]})
        with pytest.raises(BadDestination, match="not of the public internet"):
            post(f"https://hooks.example:{hook.port}/", b"{}", {}, networks=())
    assert hook.received == []


def test_the_connection_goes_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as hook:
        resolve(monkeypatch, {"localhost": ["127.0.0.99"]})
        with pytest.raises(NoAnswer, match="refused"):
            sent(f"http://localhost:{hook.port}/")
    assert hook.received == []


def test_an_address_of_ipv6_is_reached() -> None:
    def answers(line: socket.socket) -> None:
        told.append(line.recv(65_536))
        line.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    told: list[bytes] = []
    with listening(answers, "::1") as port:
        assert post(f"http://[::1]:{port}/", b"{}", {}, networks=(ip_network("::1"),)) == 204
    assert f"Host: [::1]:{port}\r\n".encode() in told[0]


def test_the_next_address_is_tried_where_the_first_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as hook:
        resolve(monkeypatch, {"hooks.example": ["127.0.0.99", "127.0.0.1"]})
        assert sent(f"http://hooks.example:{hook.port}/") == 204


# --- certificates


def test_the_certificate_is_checked_for_the_name_at_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = trusted_context(tmp_path, "hooks.example", monkeypatch)
    resolve(monkeypatch, {"hooks.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    names: list[str | None] = []
    context.sni_callback = lambda _line, name, _context: names.append(name)
    with receiver(context=context) as hook:
        assert sent(f"https://hooks.example:{hook.port}/x") == 204
        with pytest.raises(NoAnswer, match="certificate"):
            sent(f"https://other.example:{hook.port}/x")
    assert names == ["hooks.example", "other.example"]
    assert len(hook.received) == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = trusted_context(tmp_path, "hooks.example", monkeypatch)
    monkeypatch.delenv("SSL_CERT_FILE")
    resolve(monkeypatch, {"hooks.example": ["127.0.0.1"]})
    with receiver(context=context) as hook, pytest.raises(NoAnswer, match="certificate"):
        sent(f"https://hooks.example:{hook.port}/x")
    assert hook.received == []


# --- receivers that misbehave


def is_silent(line: socket.socket) -> None:
    threading.Event().wait(5)


def drips_a_head(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        line.sendall(b"X-A: b\r\n")
        time.sleep(0.02)


def drips_a_body(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        line.sendall(b"x")
        time.sleep(0.02)


def floods_with_a_head(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 2**24)


def floods_with_a_body(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 2**24)


def promises_for_ever(line: socket.socket) -> None:
    while True:
        line.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        time.sleep(0.001)


def hangs_up(line: socket.socket) -> None:
    line.recv(10)


def speaks_something_else(line: socket.socket) -> None:
    line.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    threading.Event().wait(5)


@pytest.mark.parametrize(
    ("serve", "says"),
    [
        (is_silent, "did not answer in 0.5 seconds"),
        (drips_a_head, "did not answer in 0.5 seconds"),
        (promises_for_ever, r"did not answer in 0.5 seconds|longer than 65536 bytes"),
        (floods_with_a_head, "longer than 65536 bytes"),
        (hangs_up, "hung up without an answer|reset"),
        (speaks_something_else, "no HTTP/1.1"),
    ],
)
def test_a_reply_that_is_none_is_given_up_in_time(serve: Callable[[socket.socket], None], says: str) -> None:
    with listening(serve) as port, pytest.raises(NoAnswer, match=says):
        sent(f"http://127.0.0.1:{port}/", seconds=SECONDS)


@pytest.mark.parametrize("serve", [drips_a_body, floods_with_a_body])
def test_the_body_of_a_reply_is_not_waited_for(serve: Callable[[socket.socket], None]) -> None:
    with listening(serve) as port:
        assert sent(f"http://127.0.0.1:{port}/") == 200


def test_a_handshake_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(is_silent) as port, pytest.raises(NoAnswer, match="did not answer"):
        sent(f"https://127.0.0.1:{port}/", seconds=SECONDS)


def test_nobody_there_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NoAnswer, match="refused"):
        sent(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (b"", None),
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"HTTP/1.0 200 OK\r\n\r\nbody", 200),
        (b"HTTP/1.1 204\r\n\r\n", 204),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 500 No\r\n\r\n", 500),
    ],
)
def test_the_status_of_a_reply(told: bytes, status: int | None) -> None:
    assert final_status(told) == status


@pytest.mark.parametrize(
    "told", [b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1 2000\r\n\r\n"]
)
def test_what_is_no_http_is_no_answer(told: bytes) -> None:
    with pytest.raises(NoAnswer):
        final_status(told)
