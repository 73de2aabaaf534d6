"""The files of a result over HTTP: whole or in part, always the bytes whose digest is listed."""

import base64
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l0core.kinds import KINDS
from service.jobs.values import Batch
from tests.service.api.door import Door, refused
from tests.service.api.endings import Finished, succeeded

_ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
_LOG = "calibration_log.csv"


@pytest.fixture(scope="module")
def listed(door: Door, finished: Finished) -> dict[str, dict[str, Any]]:
    """What the list says, by name."""
    return {view["name"]: view for view in door.http.get(f"{finished.url}/artifacts").json()["data"]}


@pytest.fixture(scope="module")
def whole(door: Door, finished: Finished) -> bytes:
    """The bytes of the log."""
    return door.http.get(f"{finished.url}/artifacts/{_LOG}").content


def test_the_list_holds_what_the_kind_declares(listed: dict[str, dict[str, Any]]) -> None:
    assert list(listed) == sorted(KINDS["calibration"].artifacts)
    assert all(set(view) == {"name", "size_bytes", "sha256", "content_type"} for view in listed.values())


@pytest.mark.parametrize("name", KINDS["calibration"].artifacts)
def test_every_file_is_the_one_that_is_listed(
    door: Door, finished: Finished, listed: dict[str, dict[str, Any]], name: str
) -> None:
    reply, view = door.http.get(f"{finished.url}/artifacts/{name}"), listed[name]
    digest = hashlib.sha256(reply.content)
    assert reply.status_code == 200
    assert (len(reply.content), digest.hexdigest()) == (view["size_bytes"], view["sha256"])
    assert reply.headers["Content-Type"] == view["content_type"]
    assert reply.headers["ETag"] == f'"sha256-{view["sha256"]}"'
    assert reply.headers["Content-Digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_what_was_run_is_written_down(door: Door, finished: Finished) -> None:
    config = door.http.get(f"{finished.url}/artifacts/run_config.json").json()
    assert config["kind"] == "calibration"
    assert config["hyperparameters"]["record_budget"] == 30
    assert config["seed"] == 5


def test_a_name_that_looks_like_a_formula_is_none_in_a_table(door: Door, finished: Finished) -> None:
    table = door.http.get(f"{finished.url}/artifacts/unified_diagnostics.csv").text
    assert "\n'=1+1," in table
    assert "\n=1+1," not in table


def test_the_report_runs_in_a_sandbox(door: Door, finished: Finished) -> None:
    reply = door.http.get(f"{finished.url}/artifacts/report.html")
    assert reply.headers["Content-Security-Policy"] == (
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data:"
    )
    assert "caf\u00e9 \U0001f600 &lt;b&gt;" in reply.text
    assert "\U0001f600 <b>" not in reply.text


def test_other_files_keep_the_policy_of_the_service(door: Door, finished: Finished) -> None:
    policy = door.http.get(f"{finished.url}/artifacts/{_LOG}").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-199", 100, 200),
        ("bytes=50-", 50, None),
        ("bytes=-7", -7, None),
        ("bytes=10-999999999", 10, None),
    ],
)
def test_a_range_is_that_part(
    door: Door, finished: Finished, whole: bytes, asked: str, start: int, stop: int | None
) -> None:
    reply = door.http.get(f"{finished.url}/artifacts/{_LOG}", headers={"Range": asked})
    assert reply.status_code == 206
    assert reply.content == whole[start:stop]
    first = start % len(whole)
    last = first + len(reply.content) - 1
    assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


def test_a_download_that_broke_off_is_taken_up_again_by_curl(
    door: Door, finished: Finished, whole: bytes, tmp_path: Path
) -> None:
    (tmp_path / "log").write_bytes(whole[:123])
    url = door.http.base_url.join(f"{finished.url}/artifacts/{_LOG}")
    subprocess.run(["curl", "-sS", "-C", "-", "-o", str(tmp_path / "log"), str(url)], check=True)
    assert (tmp_path / "log").read_bytes() == whole


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=0-10,5-20", "bytes=" + ",".join(["0-1"] * 100)])
def test_several_ranges_are_never_more_than_the_file(door: Door, finished: Finished, whole: bytes, asked: str) -> None:
    reply = door.http.get(f"{finished.url}/artifacts/{_LOG}", headers={"Range": asked})
    assert reply.status_code in (200, 206)
    assert len(reply.content) <= len(whole) + 500


def test_ten_thousand_ranges_are_no_work(door: Door, finished: Finished, whole: bytes) -> None:
    asked = "bytes=" + ",".join(f"{start}-{start}" for start in range(0, 20_000, 2))[:50_000].rstrip(",-")
    reply = door.http.get(f"{finished.url}/artifacts/{_LOG}", headers={"Range": asked})
    assert reply.status_code in (200, 400, 416, 431)
    assert len(reply.content) <= len(whole) + 500


@pytest.mark.parametrize("asked", ["bytes=999999999-", "bytes=5-1", "bytes=x-y", "bytes=", "lines=0-1", "bytes=-0"])
def test_a_range_that_is_none_is_no_500(door: Door, finished: Finished, asked: str) -> None:
    reply = door.http.get(f"{finished.url}/artifacts/{_LOG}", headers={"Range": asked})
    assert reply.status_code in (200, 206, 400, 416)


def test_a_range_beyond_the_end_is_refused_as_every_refusal_is(door: Door, finished: Finished) -> None:
    reply = door.http.get(f"{finished.url}/artifacts/{_LOG}", headers={"Range": "bytes=999999999-"})
    refused(reply, 416, "range_not_satisfiable")


@pytest.mark.parametrize(("matches", "status"), [(True, 206), (False, 200)])
def test_a_range_of_an_older_file_is_the_whole_new_one(
    door: Door, finished: Finished, whole: bytes, status: int, *, matches: bool
) -> None:
    etag = door.http.get(f"{finished.url}/artifacts/{_LOG}").headers["ETag"] if matches else '"sha256-older"'
    headers = {"Range": "bytes=0-9", "If-Range": etag}
    reply = door.http.get(f"{finished.url}/artifacts/{_LOG}", headers=headers)
    assert (reply.status_code, reply.content) == (status, whole[:10] if matches else whole)


def test_a_file_that_is_known_is_304(door: Door, finished: Finished) -> None:
    url = f"{finished.url}/artifacts/{_LOG}"
    etag = door.http.get(url).headers["ETag"]
    reply = door.http.get(url, headers={"If-None-Match": etag})
    assert (reply.status_code, reply.content, reply.headers["ETag"]) == (304, b"", etag)
    assert door.http.get(url, headers={"If-None-Match": '"sha256-other"'}).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "nothing.csv",
        "CALIBRATION_LOG.CSV",
        "%2e%2e%2f%2e%2e%2fl0.db",
        "..%5c..%5cl0.db",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "C:%5cx",
        "calibration_log.csv%0d%0aX: y",
        "calibration_log.csv%20",
        "x" * 5000,
        "\u2603",
    ],
)
def test_a_name_that_is_not_listed_is_not_found(door: Door, finished: Finished, name: str) -> None:
    refused(door.http.get(f"{finished.url}/artifacts/{name}"), 404, "not_found")


@pytest.mark.parametrize("name", ["report.html", "nothing.csv"])
def test_a_job_that_has_not_succeeded_has_no_files(door: Door, problem_id: str, name: str) -> None:
    job = door.job(problem_id)
    assert door.http.get(job["links"]["artifacts"]).json() == {"data": []}
    refused(door.http.get(f"{job['links']['artifacts']}/{name}"), 409, "result_not_ready", says="pending")


@_ON_POSTGRESQL
def test_a_nul_in_a_name_is_not_found(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    succeeded(inside.system, job["id"], weights=np.ones(3), batch=Batch())
    refused(inside.http.get(f"{job['links']['artifacts']}/%00"), 404, "not_found")


def test_files_of_any_bytes_come_as_they_are(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    files = {"empty.bin": b"", "all.bin": bytes(range(256)) * 1000, "page.html": b"<script>alert(1)</script>"}
    succeeded(inside.system, job["id"], weights=np.ones(3), batch=Batch(), files=files)
    for name, data in files.items():
        reply = inside.http.get(f"{job['links']['artifacts']}/{name}")
        assert (reply.status_code, reply.content) == (200, data)
    assert reply.headers["Content-Security-Policy"].startswith("sandbox allow-scripts;")
    assert json.loads(inside.http.get(job["links"]["self"]).text)["summary"] == {"loss": 0.5}
