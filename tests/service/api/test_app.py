"""What every answer has in common: an id, safe headers, one form of refusal; and the document that describes them."""

import re
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from service.api.app import create_app
from service.settings import Settings
from tests.service.api.door import Door, InProcess, refused
from tests.service.api.endings import Finished

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


# --- the id of a request


@pytest.mark.parametrize("name", ["X-Request-Id", "X-PolicyEngine-Request-Id"])
@pytest.mark.parametrize("path", ["/healthz", "/v1/jobs/job_nobody", "/nowhere", "/static/nowhere", "/"])
def test_the_id_a_client_sends_comes_back(door: Door, name: str, path: str) -> None:
    reply = door.http.get(path, headers={name: "mine-1/2:3"})
    assert reply.headers["X-Request-Id"] == "mine-1/2:3"


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, "caf\u00e9".encode("latin-1"), "tab\there"])
def test_an_id_that_could_break_a_log_is_replaced(door: Door, sent: str | bytes) -> None:
    reply = door.http.get("/healthz", headers=[(b"X-Request-Id", sent if isinstance(sent, bytes) else sent.encode())])
    assert re.fullmatch(r"[0-9a-f]{24}", reply.headers["X-Request-Id"])


def test_every_request_without_an_id_gets_another(door: Door) -> None:
    assert len({door.http.get("/healthz").headers["X-Request-Id"] for _ in range(5)}) == 5


# --- headers


@pytest.mark.parametrize("path", ["/healthz", "/v1/jobs", "/v1/jobs/job_nobody", "/nowhere", "/", "/openapi.json"])
def test_every_answer_is_safe_in_a_browser(door: Door, path: str) -> None:
    headers = door.http.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/v1/jobs", "/"])
def test_a_page_that_rebinds_its_name_reads_nothing(door: Door, path: str) -> None:
    assert door.http.get(path, headers={"Host": "attacker.example"}).status_code in (400, 403, 421)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_no_page_is_served_that_its_policy_forbids(door: Door, path: str) -> None:
    reply = door.http.get(path)
    assert reply.status_code == 404 or "https://" not in reply.text


# --- refusals


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/nothing", "/v1/jobs/a/b/c", "/static/nothing.js", "/static/"])
def test_a_path_that_leads_nowhere_is_not_found(door: Door, path: str) -> None:
    body = refused(door.http.get(path), 404, "not_found")
    assert body["instance"] == path


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2f..%2fpyproject.toml",
        "/static/%2fetc%2fpasswd",
        "/static/%00",
    ],
)
def test_nothing_but_the_pages_is_served_as_a_file(door: Door, path: str) -> None:
    refused(door.http.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/uploads"),
        ("GET", "/v1/uploads"),
        ("PATCH", "/v1/problems"),
        ("DELETE", "/v1/jobs"),
        ("GET", "/v1/jobs/x/cancel"),
        ("POST", "/healthz"),
        ("PROPFIND", "/v1/jobs"),
    ],
)
def test_a_method_that_is_not_there_is_refused(door: Door, method: str, path: str) -> None:
    reply = door.http.request(method, path)
    refused(reply, 405, "method_not_allowed")
    assert reply.headers["Allow"]


def test_allow_names_every_method_of_the_path(door: Door) -> None:
    allowed = door.http.put("/v1/jobs").headers["Allow"]
    assert {method.strip() for method in allowed.split(",")} == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("path", ["/healthz", "/v1/jobs", "/v1/capabilities", "/metrics", "/", "/static/app.js"])
def test_head_is_get_without_a_body(door: Door, path: str) -> None:
    head, whole = door.http.head(path), door.http.get(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]


def test_the_head_of_a_file_tells_its_size_and_its_etag(door: Door, finished: Finished) -> None:
    for path in ("artifacts/calibration_weights.npy", "weights?format=parquet"):
        head, whole = (door.http.request(method, f"{finished.url}/{path}") for method in ("HEAD", "GET"))
        assert head.content == b""
        for name in ("Content-Length", "ETag", "Accept-Ranges"):
            assert head.headers[name] == whole.headers[name]


def test_the_head_of_a_stream_ends(door: Door, problem_id: str) -> None:
    url = door.job(problem_id)["links"]["events"]
    assert door.http.head(url, headers={"Accept": "text/event-stream"}).status_code == 200


def test_the_head_of_what_is_not_there_is_404(door: Door) -> None:
    assert door.http.head("/v1/jobs/job_nobody").status_code == 404
    assert door.http.head("/v1/uploads").status_code == 405
    assert door.http.head("/nowhere").status_code == 404


def test_a_slash_too_many_leads_to_the_place(door: Door) -> None:
    reply = door.http.get("/v1/jobs/", follow_redirects=False)
    assert reply.status_code == 307
    assert reply.headers["Location"].endswith("/v1/jobs")


@pytest.mark.parametrize(
    "text",
    [
        "rubbish\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        f"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: {'9' * 5000}\r\n\r\n",
        f"GET /{'a' * 100_000} HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nXYZ\r\n",
    ],
    ids=["rubbish", "negative length", "5000 digits", "100 kB path", "no chunk"],
)
def test_what_is_no_http_is_refused_and_the_next_request_works(door: Door, text: str) -> None:
    with socket.create_connection(("127.0.0.1", door.http.base_url.port or 0)) as client:
        client.sendall(text.encode())
        assert b" 4" in client.recv(4096).split(b"\r\n")[0]
    assert door.http.get("/healthz").status_code == 200


# --- what nobody expected


class Unforeseen(Exception):
    """What no handler knows."""


@pytest.fixture
def broken(settings: Settings) -> Iterator[httpx.Client]:
    """The application with one route that fails."""
    app = create_app(settings)

    def fail() -> None:
        raise Unforeseen(f"secret of {settings.data_dir}")

    app.get("/fails")(fail)
    with httpx.Client(transport=InProcess(app), base_url="http://localhost") as http:
        yield http
    app.state.system.database.dispose()


@_ON_SQLITE
def test_an_unforeseen_error_shows_nothing_of_the_inside(broken: httpx.Client) -> None:
    with capture_logs() as logged:
        reply = broken.get("/fails", headers={"X-Request-Id": "mine"})
    body = reply.json()
    assert (reply.status_code, reply.headers["Content-Type"]) == (500, "application/problem+json")
    assert (body["code"], body["request_id"], body["instance"]) == ("internal_error", "mine", "/fails")
    assert "secret" not in reply.text
    assert "Unforeseen" not in reply.text
    (line,) = logged
    assert (line["event"], line["path"]) == ("unexpected_error", "/fails")
    assert broken.get("/healthz").status_code == 200


@_ON_SQLITE
def test_an_unforeseen_error_has_the_headers_of_every_answer(broken: httpx.Client) -> None:
    with capture_logs():
        headers = broken.get("/fails", headers={"X-Request-Id": "mine"}).headers
    assert headers["X-Request-Id"] == "mine"
    assert headers["X-Content-Type-Options"] == "nosniff"


@_ON_SQLITE
def test_the_log_has_an_unforeseen_error_under_its_id(broken: httpx.Client) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        broken.get("/fails", headers={"X-Request-Id": "mine"})
    assert [line.get("request_id") for line in logged] == ["mine"]


# --- the document


@pytest.fixture(scope="module")
def document(door: Door) -> dict[str, Any]:
    """The OpenAPI document."""
    reply = door.http.get("/openapi.json")
    assert reply.headers["Content-Type"] == "application/json"
    served: dict[str, Any] = reply.json()
    return served


def test_the_document_describes_every_route(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert {
        "/healthz",
        "/readyz",
        "/v1/workers",
        "/v1/methods",
        "/v1/methods/{kind}/schema",
        "/v1/uploads",
        "/v1/uploads/{upload_id}",
        "/v1/problems",
        "/v1/problems/{problem_id}",
        "/v1/jobs",
        "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/cancel",
        "/v1/jobs/{job_id}/events",
        "/v1/jobs/{job_id}/metrics",
        "/v1/jobs/{job_id}/weights",
        "/v1/jobs/{job_id}/predictions",
        "/v1/jobs/{job_id}/targets",
        "/v1/jobs/{job_id}/artifacts",
        "/v1/jobs/{job_id}/artifacts/{name}",
    } <= set(document["paths"])


def _values(node: object, key: str) -> list[Any]:
    """Give every value under `key`, however deep."""
    if isinstance(node, list):
        return [found for item in node for found in _values(item, key)]
    if not isinstance(node, dict):
        return []
    mine = [node[key]] if key in node else []
    return mine + [found for value in node.values() for found in _values(value, key)]


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    references = {found for found in _values(document["paths"], "$ref") if isinstance(found, str)}
    assert references
    for reference in references | set(_values(document["components"], "$ref")):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_the_document_describes_the_refusals_that_are_sent(document: dict[str, Any]) -> None:
    described = document["paths"]["/v1/jobs"]["post"]["responses"]["422"]["content"]
    assert set(described) == {"application/problem+json"}


def test_the_document_says_that_an_upload_has_a_body(document: dict[str, Any]) -> None:
    assert "application/x-npz" in document["paths"]["/v1/uploads"]["post"]["requestBody"]["content"]


def test_times_are_rfc_3339_in_utc_in_one_form(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    listed = door.http.get("/v1/jobs", params={"limit": 1}).json()["data"][0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", listed["created_at"])
    assert job["created_at"] == listed["created_at"]


def test_one_job_has_its_times_in_the_form_of_all(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    assert door.http.get(job["links"]["self"]).json()["created_at"] == job["created_at"]


def test_the_dashboard_is_served(door: Door) -> None:
    reply = door.http.get("/")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
