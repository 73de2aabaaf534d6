"""Bytes in over HTTP: kept once, checked against their digest, and nothing left of what was refused or broke off."""

import base64
import gzip
import hashlib
import random
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from backports import zstd
from sqlalchemy import update

from service.db.migrate import upgrade
from service.problems.models import Upload
from service.settings import Settings
from tests.service.api.door import Door, called_here, open_door, refused, resident_bytes, until
from tests.service.problems.files import NPY, NPZ, no_file_above

_LIMIT = 2**20  # of the shared door
_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def _post(door: Door, data: bytes | Iterator[bytes], content_type: str = NPY, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return door.http.post("/v1/uploads", content=data, headers={"Content-Type": content_type, **named})


def _works(door: Door) -> None:
    """Check that the next good request is answered and that nothing is on its way."""
    assert _post(door, b"good").status_code in (200, 201)
    assert door.incoming == []


def test_an_upload_is_created_with_its_digest_and_size(door: Door) -> None:
    data = b"created with its digest and size"
    reply = _post(door, data, NPZ)
    assert reply.status_code == 201
    view = reply.json()
    assert view["id"].startswith("upl_")
    assert view == {
        "id": view["id"],
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "content_type": NPZ,
    }
    assert door.http.get(f"/v1/uploads/{view['id']}").json() == view
    assert door.incoming == []


def test_the_same_bytes_are_the_same_upload(door: Door) -> None:
    first, again, other = (_post(door, b"same", kind) for kind in (NPY, NPY, NPZ))
    assert [first.status_code, again.status_code, other.status_code] == [201, 200, 201]
    assert first.json() == again.json()
    assert first.json()["id"] != other.json()["id"]


def test_the_content_type_may_carry_parameters_and_capitals(door: Door) -> None:
    assert _post(door, b"capitals", "Application/X-NPY; charset=binary").json()["content_type"] == NPY


def test_an_empty_upload_is_an_upload(door: Door) -> None:
    assert _post(door, b"").json()["sha256"] == hashlib.sha256(b"").hexdigest()


def test_bytes_sent_in_pieces_are_one_upload(door: Door) -> None:
    data = b"0123456789" * 50_000
    reply = _post(door, (data[start : start + 777] for start in range(0, len(data), 777)))
    assert (reply.status_code, reply.json()["sha256"]) == (201, hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("upload_id", ["upl_nobody", "x", "upl_" + "0" * 500, "..", "%2e%2e%2fetc%2fpasswd"])
def test_an_unknown_upload_is_not_found(door: Door, upload_id: str) -> None:
    refused(door.http.get(f"/v1/uploads/{upload_id}"), 404, "not_found")


def _held(door: Door, data: bytes, method: str = "HEAD", **query: str) -> httpx.Response:
    return door.http.request(method, f"/v1/uploads/sha256:{hashlib.sha256(data).hexdigest()}", params=query)


def test_bytes_that_are_held_are_found_by_their_sha256(door: Door) -> None:
    view = _post(door, b"asked for by sha256").json()
    asked, got = _held(door, b"asked for by sha256"), _held(door, b"asked for by sha256", "GET")
    assert (asked.status_code, asked.content) == (200, b"")
    assert got.json() == view
    for reply in (asked, got):
        assert reply.headers["ETag"] == f'"sha256-{view["sha256"]}"'
        assert reply.headers["Content-Location"] == f"/v1/uploads/{view['id']}"
        assert (reply.headers["Upload-Size-Bytes"], reply.headers["Upload-Content-Type"]) == ("19", NPY)
    assert asked.headers["Content-Length"] == got.headers["Content-Length"]
    assert door.http.get(asked.headers["Content-Location"]).json() == view
    assert door.http.head(f"/v1/uploads/sha256:{view['sha256'].upper()}").status_code == 200


def test_the_type_under_which_bytes_are_held_may_be_asked_for(door: Door) -> None:
    _post(door, b"of one type")
    assert _held(door, b"of one type", content_type=NPY).status_code == 200
    assert _held(door, b"of one type", content_type=NPZ).status_code == 404
    as_npz = _post(door, b"of one type", NPZ).json()
    assert _held(door, b"of one type", "GET", content_type=NPZ).json() == as_npz


@pytest.mark.parametrize("sha256", ["0" * 64, "0" * 63, "x", "0" * 5000, "%00", "..%2f.."])
def test_bytes_that_are_not_held_are_not_found(door: Door, sha256: str) -> None:
    asked = door.http.head(f"/v1/uploads/sha256:{sha256}")
    assert (asked.status_code, asked.content) == (404, b"")
    refused(door.http.get(f"/v1/uploads/sha256:{sha256}"), 404, "not_found")


def test_another_tenant_s_bytes_are_not_found(inside: Door) -> None:
    _post(inside, b"mine")
    with inside.system.database.transaction() as session:
        session.execute(update(Upload).values(tenant="another"))
    assert _held(inside, b"mine").status_code == 404


def test_a_right_digest_is_accepted(door: Door) -> None:
    digest = base64.b64encode(hashlib.sha256(b"digested").digest()).decode()
    assert _post(door, b"digested", Content_Digest=f"sha-256=:{digest}:").status_code == 201


def test_a_wrong_digest_is_refused_and_the_bytes_are_dropped(door: Door) -> None:
    before = door.rows()
    digest = base64.b64encode(hashlib.sha256(b"meant").digest()).decode()
    refused(_post(door, b"arrived", Content_Digest=f"sha-256=:{digest}:"), 400, "digest_mismatch", says="sha-256")
    assert door.rows() == before
    _works(door)


@pytest.mark.parametrize("content_type", ["", "application/json", "text/csv", "application/octet-stream", "x" * 3000])
def test_a_content_type_nobody_reads_is_refused_with_the_line_that_works(door: Door, content_type: str) -> None:
    reply = _post(door, b"data", content_type)
    body = refused(reply, 415, "unsupported_media_type", says="Content-Type must be one of")
    assert f"curl -H 'Content-Type: application/x-npz' --data-binary @M.npz {reply.url}" in body["detail"]
    _works(door)


def test_no_content_type_is_refused(door: Door) -> None:
    refused(door.http.post("/v1/uploads", content=b"data"), 415, "unsupported_media_type", says="--data-binary")


def test_a_multipart_form_is_refused_with_the_line_that_works(door: Door) -> None:
    parts = [("files", (f"{number}.npz", b"data")) for number in range(10_000)]
    reply = door.http.post("/v1/uploads", files=parts)
    refused(reply, 415, "unsupported_media_type", says="--data-binary")
    _works(door)


def test_the_line_in_the_refusal_works(door: Door, tmp_path: Path) -> None:
    detail = door.http.post("/v1/uploads", files={"file": b"data"}).json()["detail"]
    (tmp_path / "M.npz").write_bytes(b"sent by curl")
    command = f"{detail[detail.index('curl') :]} --silent --show-error"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert hashlib.sha256(b"sent by curl").hexdigest() in done.stdout


@pytest.mark.parametrize("encoding", ["br", "deflate", "deflate, gzip", "gzip, zstd", "nonsense"])
def test_an_encoding_nobody_decodes_is_refused(door: Door, encoding: str) -> None:
    reply = _post(door, b"data", Content_Encoding=encoding)
    refused(reply, 415, "unsupported_media_type", says="send gzip or zstd")
    assert reply.headers["Accept-Encoding"] == "gzip, zstd"
    _works(door)


def test_two_lines_of_encodings_are_two_encodings(door: Door) -> None:
    twice = [("Content-Type", NPY), ("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")]
    reply = door.http.post("/v1/uploads", content=gzip.compress(gzip.compress(b"data")), headers=twice)
    refused(reply, 415, "unsupported_media_type", says="'gzip, gzip' is not read")


_ENCODE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
_encoded = pytest.mark.parametrize("encoding", _ENCODE)


@_encoded
def test_an_encoded_upload_is_the_same_as_the_plain_one(door: Door, encoding: str) -> None:
    data = f"sent plain and {encoding}".encode() * 10_000
    plain = _post(door, data)
    sent = _ENCODE[encoding](data[:5000]) + _ENCODE[encoding](data[5000:])
    reply = _post(door, sent, Content_Encoding=encoding, Content_Digest=_digest(sent))
    assert (reply.status_code, reply.json()) == (200, plain.json())
    assert (reply.json()["sha256"], reply.json()["size_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))


def _digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@_encoded
def test_a_digest_is_of_the_bytes_as_they_were_sent(door: Door, encoding: str) -> None:
    reply = _post(door, _ENCODE[encoding](b"data"), Content_Encoding=encoding, Content_Digest=_digest(b"data"))
    refused(reply, 400, "digest_mismatch")
    _works(door)


@_encoded
@pytest.mark.parametrize("spoil", ["truncated", "garbage behind", "not encoded"])
def test_an_encoded_body_that_is_not_whole_is_refused(door: Door, encoding: str, spoil: str) -> None:
    sound, before = _ENCODE[encoding](random.Random(2).randbytes(100_000)), door.rows()
    body = {"truncated": sound[:-3], "garbage behind": sound + b"more", "not encoded": b"as it is"}[spoil]
    refused(_post(door, body, Content_Encoding=encoding), 400, "broken_encoding")
    assert door.rows() == before
    _works(door)


@_encoded
def test_the_limit_is_that_of_the_decoded_bytes(door: Door, encoding: str) -> None:
    encode = _ENCODE[encoding]
    assert _post(door, encode(b"1" * _LIMIT), Content_Encoding=encoding).status_code in (200, 201)
    reply = _post(door, encode(bytes(_LIMIT + 1)), Content_Encoding=encoding)
    refused(reply, 413, "payload_too_large", says=f"more than {_LIMIT} bytes")
    _works(door)


@_encoded
def test_a_bomb_is_stopped_at_the_limit_with_little_memory(door: Door, encoding: str) -> None:
    bomb = _ENCODE[encoding](bytes(2**26))
    before = resident_bytes(door.pid)
    refused(_post(door, bomb, Content_Encoding=encoding), 413, "payload_too_large")
    assert resident_bytes(door.pid) - before < 32 * 2**20
    _works(door)


def test_the_identity_is_no_encoding(door: Door) -> None:
    assert _post(door, b"identity", Content_Encoding="identity").status_code == 201


def test_the_limit_itself_is_allowed(door: Door) -> None:
    assert _post(door, bytes(_LIMIT)).status_code == 201


@pytest.mark.parametrize("extra", [1, 3 * _LIMIT])
@pytest.mark.parametrize("declared", [True, False])
def test_more_than_the_limit_is_refused_with_and_without_a_length(door: Door, extra: int, *, declared: bool) -> None:
    before, data = door.rows(), bytes(_LIMIT + extra)
    pieces = (data[start : start + 2**16] for start in range(0, len(data), 2**16))
    reply = _post(door, data if declared else pieces)
    refused(reply, 413, "payload_too_large", says=f"more than {_LIMIT} bytes")
    assert door.rows() == before
    _works(door)


def _address(door: Door) -> tuple[str, int]:
    return "127.0.0.1", door.http.base_url.port or 0


_HEAD = f"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: {NPY}\r\n"


@pytest.mark.parametrize("cut", ["closed", "reset"])
@pytest.mark.parametrize(
    "request_",
    [f"{_HEAD}Content-Length: 500000\r\n\r\nhalf", f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
    ids=["with a length", "chunked"],
)
def test_a_client_that_leaves_in_mid_upload_leaves_nothing(door: Door, request_: str, cut: str) -> None:
    before = door.rows()
    with socket.create_connection(_address(door)) as client:
        client.sendall(request_.encode())
        until(lambda: door.incoming)
        if cut == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: not door.incoming)
    assert door.rows() == before
    _works(door)


def test_a_client_that_leaves_is_no_error_of_ours(door: Door) -> None:
    logged = door.log.count("unexpected_error")
    with socket.create_connection(_address(door)) as client:
        client.sendall(f"{_HEAD}Content-Length: 500000\r\n\r\nhalf".encode())
        until(lambda: door.incoming)
    until(lambda: not door.incoming)
    _works(door)
    assert door.log.count("unexpected_error") == logged


def test_a_body_shorter_than_it_says_is_no_upload(door: Door) -> None:
    before = door.rows()
    with socket.create_connection(_address(door)) as client:
        client.sendall(f"{_HEAD}Content-Length: 10\r\n\r\nshort".encode())
        client.shutdown(socket.SHUT_WR)
        assert b" 201 " not in client.recv(4096)
    until(lambda: not door.incoming)
    assert door.rows() == before


@pytest.mark.parametrize(
    "length",
    [
        "-1",
        "1e3",
        "0x10",
        "five",
        "5, 6",
        "9" * 30,
        "9" * 5000,
        "5\r\nContent-Length: 6",
        "5\r\nTransfer-Encoding: chunked",
    ],
)
def test_a_length_that_is_none_is_refused(door: Door, length: str) -> None:
    before = door.rows()
    with socket.create_connection(_address(door)) as client:
        client.sendall(f"{_HEAD}Content-Length: {length}\r\n\r\nhello".encode())
        client.shutdown(socket.SHUT_WR)
        assert client.recv(4096).split(b" ")[1] in (b"400", b"413")
    assert door.rows() == before
    _works(door)


def test_what_comes_after_the_length_is_no_part_of_the_upload(door: Door) -> None:
    with socket.create_connection(_address(door)) as client:
        client.sendall(f"{_HEAD}Content-Length: 5\r\n\r\nhello, and more\r\n\r\n".encode())
        reply = client.recv(4096)
    assert hashlib.sha256(b"hello").hexdigest().encode() in reply or reply.startswith(b"HTTP/1.1 400")
    _works(door)


def test_chunks_that_are_none_are_refused(door: Door) -> None:
    before = door.rows()
    with socket.create_connection(_address(door)) as client:
        client.sendall(f"{_HEAD}Transfer-Encoding: chunked\r\n\r\nnonsense\r\nhello\r\n0\r\n\r\n".encode())
        assert b" 201 " not in client.recv(4096)
    until(lambda: not door.incoming)
    assert door.rows() == before
    _works(door)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Door]:
    """A door that waits for half a second."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("impatient"), broker_url=redis_url, read_timeout_seconds=0.5)
    upgrade(settings.database)
    with open_door(settings) as opened:
        yield opened


_WITH_LENGTH = f"{_HEAD}Content-Length: 500000\r\n\r\n"
_CHUNKED = f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("trickle", [False, True])
@pytest.mark.parametrize(("head", "part"), [(_WITH_LENGTH, b"x"), (_CHUNKED, b"1\r\nx\r\n")])
def test_a_client_that_falls_silent_is_let_go(impatient: Door, head: str, part: bytes, *, trickle: bool) -> None:
    with socket.create_connection(_address(impatient)) as client:
        client.sendall(head.encode() + part)
        until(lambda: impatient.incoming)
        client.settimeout(0.05)
        reply = b""
        while not reply.endswith(b"}"):
            with suppress(TimeoutError):
                reply += client.recv(4096)
            if trickle and not reply:
                client.sendall(part)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in reply.lower()
    assert b'"code":"request_timeout"' in reply
    assert b"less than a kilobyte of the body came in 0.5 s" in reply
    until(lambda: not impatient.incoming)
    _works(impatient)


@pytest.mark.parametrize("sent", [b"", b"P", _HEAD.encode()])
def test_a_client_that_sends_no_whole_head_is_let_go(impatient: Door, sent: bytes) -> None:
    with socket.create_connection(_address(impatient)) as client:
        client.sendall(sent)
        client.settimeout(20)
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert client.recv(4096) == b""
    _works(impatient)


def test_a_client_that_begins_a_second_head_is_let_go(impatient: Door) -> None:
    with socket.create_connection(_address(impatient)) as client:
        client.settimeout(20)
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = b""
        while not reply.endswith(b"}"):
            reply += client.recv(4096)
        time.sleep(1.0)  # between two requests nobody is let go so soon
        client.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_slow_client_is_waited_for(impatient: Door) -> None:
    def slowly() -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.3)
            yield bytes(1024)

    assert _post(impatient, slowly()).status_code == 201


def test_a_client_asked_to_wait_learns_of_the_limit_before_it_sends(door: Door) -> None:
    with socket.create_connection(_address(door)) as client:
        client.sendall(f"{_HEAD}Expect: 100-continue\r\nContent-Length: {10**12}\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    _works(door)


@_ON_SQLITE
def test_a_full_disk_is_507_and_nothing_is_left(settings: Settings) -> None:
    with called_here(settings) as door:
        _works(door)
        with no_file_above(2**20):
            reply = _post(door, bytes(2**21))
        body = refused(reply, 507, "storage_full", says="no room left")
        assert body["retryable"]
        assert reply.headers["Retry-After"] == "60"
        _works(door)
