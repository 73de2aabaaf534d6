"""Results over HTTP: every form of the weights is the same weights, every page of the targets is the same targets."""

import base64
import csv
import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from service.jobs.values import Batch
from tests.service.api.door import Door, refused
from tests.service.api.endings import Finished, succeeded, target_row
from tests.service.problems.files import NPY, NPZ, npy, npz

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


# --- before there is a result


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "weights"), ("GET", "predictions"), ("POST", "predictions"), ("GET", "targets")],
)
@pytest.mark.parametrize("ended", [False, True])
def test_a_job_without_a_result_says_so(door: Door, problem_id: str, method: str, path: str, *, ended: bool) -> None:
    job = door.job(problem_id)
    if ended:
        door.http.post(job["links"]["cancel"])
    body = {"matrix": _inline(np.ones((1, 3)))} if method == "POST" else None
    reply = door.http.request(method, job["links"][path], json=body)
    refused(reply, 409, "result_not_ready", says="cancelled" if ended else "pending")


def _inline(matrix: NDArray[np.float64]) -> dict[str, Any]:
    coo = sp.coo_array(matrix)
    triples = {"row": coo.row.tolist(), "col": coo.col.tolist(), "data": coo.data.tolist()}
    return {"coo": {"shape": list(matrix.shape), **triples}}


# --- a job that the engine ran


def test_the_job_says_what_became_of_it(door: Door, finished: Finished) -> None:
    job = door.http.get(finished.url).json()
    assert (job["status"], job["attempt"], job["error"]) == ("succeeded", 1, None)
    assert job["summary"]["n_active"] == 30
    assert job["progress"]["epoch"] == job["progress"]["epochs"]
    assert {"service", "engine", "torch", "python"} <= set(job["versions"])
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    refused(door.http.post(job["links"]["cancel"]), 409, "job_already_terminal", says="already succeeded")


@pytest.fixture(scope="module")
def dense(door: Door, finished: Finished) -> NDArray[np.float64]:
    """The weights of all units, as the artifact has them."""
    artifact = door.http.get(f"{finished.url}/artifacts/calibration_weights.npy")
    weights: NDArray[np.float64] = np.load(io.BytesIO(artifact.content), allow_pickle=False)
    return weights


def test_exactly_the_budget_carries_weight(dense: NDArray[np.float64]) -> None:
    assert (dense.shape, dense.dtype.str, int((dense > 0).sum())) == ((80,), "<f8", 30)


def _of_json(reply: httpx.Response) -> NDArray[np.float64]:
    body = reply.json()
    if "indices" not in body:
        assert body["n_units"] == len(body["values"])
        return np.array(body["values"])
    weights = np.zeros(body["n_units"])
    weights[body["indices"]] = body["values"]
    assert body["count"] == len(body["indices"]) == len(body["values"])
    assert body["indices"] == sorted(body["indices"])
    return weights


def _of_npy(reply: httpx.Response) -> NDArray[np.float64]:
    array = np.load(io.BytesIO(reply.content), allow_pickle=False)
    if array.dtype.names is None:
        weights: NDArray[np.float64] = array
        return weights
    assert [(name, array.dtype[name].str) for name in array.dtype.names] == [("index", "<i8"), ("weight", "<f8")]
    weights = np.zeros(80)
    weights[array["index"]] = array["weight"]
    return weights


def _of_csv(reply: httpx.Response) -> NDArray[np.float64]:
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    weights = np.zeros(80)
    weights[[int(row["index"]) for row in rows]] = [float(row["weight"]) for row in rows]
    return weights


def _of_parquet(reply: httpx.Response) -> NDArray[np.float64]:
    return _of_arrow_table(pq.read_table(io.BytesIO(reply.content)))


def _of_arrow(reply: httpx.Response) -> NDArray[np.float64]:
    with pa.ipc.open_file(io.BytesIO(reply.content)) as file:
        return _of_arrow_table(file.read_all())


def _of_arrow_table(table: Any) -> NDArray[np.float64]:
    assert [(field.name, str(field.type)) for field in table.schema] == [("index", "int64"), ("weight", "double")]
    weights = np.zeros(80)
    weights[table["index"].to_numpy()] = table["weight"].to_numpy()
    return weights


_READERS: dict[str, tuple[str, Callable[[httpx.Response], NDArray[np.float64]]]] = {
    "json": ("application/json", _of_json),
    "npy": ("application/x-npy", _of_npy),
    "csv": ("text/csv", _of_csv),
    "parquet": ("application/vnd.apache.parquet", _of_parquet),
    "arrow": ("application/vnd.apache.arrow.file", _of_arrow),
}


@pytest.mark.parametrize("form", _READERS)
@pytest.mark.parametrize("active_only", [True, False])
@pytest.mark.parametrize("asked_by", ["format", "Accept"])
def test_every_form_of_the_weights_is_the_same_to_the_last_bit(
    door: Door, finished: Finished, dense: NDArray[np.float64], form: str, asked_by: str, *, active_only: bool
) -> None:
    media_type, read = _READERS[form]
    query: dict[str, Any] = {"active_only": active_only} | ({"format": form} if asked_by == "format" else {})
    headers = {"Accept": "image/png" if asked_by == "format" else f"text/html, {media_type};q=0.5"}
    reply = door.http.get(f"{finished.url}/weights", params=query, headers=headers)
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith(media_type)
    assert read(reply).tobytes() == dense.tobytes()


@pytest.mark.parametrize("form", _READERS)
def test_weights_come_in_parts_and_not_again_where_they_are_known(door: Door, finished: Finished, form: str) -> None:
    url, query = f"{finished.url}/weights", {"format": form}
    whole = door.http.get(url, params=query)
    assert (whole.headers["Accept-Ranges"], whole.headers["Content-Length"]) == ("bytes", str(len(whole.content)))
    etag = whole.headers["ETag"]
    part = door.http.get(url, params=query, headers={"Range": "bytes=5-24", "If-Range": etag})
    assert (part.status_code, part.content) == (206, whole.content[5:25])
    known = door.http.get(url, params=query, headers={"If-None-Match": etag})
    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", etag)
    refused(door.http.get(url, params=query, headers={"Range": "bytes=999999-"}), 416, "range_not_satisfiable")


def test_each_form_of_the_weights_has_an_etag_of_its_own(door: Door, finished: Finished) -> None:
    replies = [
        door.http.get(f"{finished.url}/weights", params={"format": form, "active_only": active_only})
        for form in _READERS
        for active_only in (True, False)
    ]
    assert len({reply.headers["ETag"] for reply in replies}) == len(replies)
    assert {reply.headers["Vary"] for reply in replies} == {"Accept"}


@pytest.mark.parametrize("accept", ["*/*", "application/*", "application/json", ""])
def test_json_is_what_one_gets(door: Door, finished: Finished, accept: str) -> None:
    reply = door.http.get(f"{finished.url}/weights", headers={"Accept": accept} if accept else {})
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/xml;q=0.9, text/html"])
def test_a_form_nobody_writes_is_406(door: Door, finished: Finished, accept: str) -> None:
    reply = door.http.get(f"{finished.url}/weights", headers={"Accept": accept})
    refused(reply, 406, "not_acceptable", says="application/x-npy")


@pytest.mark.parametrize("form", ["xml", "", "JSON", "npz"])
def test_a_format_nobody_writes_is_406(door: Door, finished: Finished, form: str) -> None:
    refused(door.http.get(f"{finished.url}/weights", params={"format": form}), 406, "not_acceptable", says="json, npy")


@pytest.mark.parametrize("accept", ["application/json;q=0, text/csv", "application/json;q=0.1, text/csv;q=0.9"])
def test_the_form_the_client_likes_best_is_sent(door: Door, finished: Finished, accept: str) -> None:
    reply = door.http.get(f"{finished.url}/weights", headers={"Accept": accept})
    assert reply.headers["Content-Type"].startswith("text/csv")


def test_predictions_are_the_matrix_times_the_weights(
    door: Door, finished: Finished, dense: NDArray[np.float64]
) -> None:
    reply = door.http.get(f"{finished.url}/predictions").json()
    assert reply["names"] == finished.names
    np.testing.assert_allclose(reply["values"], finished.matrix @ dense, rtol=1e-12)


@pytest.mark.parametrize("form", ["inline", "npz", "npy"])
def test_totals_of_another_matrix_over_the_same_units(
    door: Door, finished: Finished, dense: NDArray[np.float64], form: str
) -> None:
    other = np.random.default_rng(9).random((4, 80)).round(1)
    if form == "inline":
        matrix = _inline(other)
    else:
        file, content_type = (npz(sp.csc_array(other)), NPZ) if form == "npz" else (npy(other), NPY)
        matrix = {"upload_id": door.upload(file, content_type)}
    reply = door.http.post(f"{finished.url}/predictions", json={"matrix": matrix})
    assert reply.status_code == 200
    np.testing.assert_allclose(reply.json()["values"], other @ dense, rtol=1e-12)
    assert door.incoming == []


def test_totals_of_another_problem_over_the_same_units(
    door: Door, finished: Finished, dense: NDArray[np.float64]
) -> None:
    other = np.random.default_rng(8).random((3, 80)).round(1)
    problem_id = door.problem(matrix=_inline(other), targets=[1.0, 2.0, 3.0], target_names=["a", "b", "c"])
    reply = door.http.post(f"{finished.url}/predictions", json={"problem_id": problem_id}).json()
    assert reply["names"] == ["a", "b", "c"]
    np.testing.assert_allclose(reply["values"], other @ dense, rtol=1e-12)


def test_a_problem_over_other_units_or_unknown_is_refused(door: Door, finished: Finished, problem_id: str) -> None:
    url = f"{finished.url}/predictions"
    reply = door.http.post(url, json={"problem_id": problem_id})
    refused(reply, 422, "shape_mismatch", pointer="/problem_id", says="the job's problem 80")
    refused(door.http.post(url, json={"problem_id": "prb_nobody"}), 404, "not_found")


def test_a_matrix_over_other_units_is_refused(door: Door, finished: Finished) -> None:
    reply = door.http.post(f"{finished.url}/predictions", json={"matrix": _inline(np.ones((1, 79)))})
    refused(reply, 422, "shape_mismatch", pointer="/matrix", says="79 columns, the job's problem 80 units")


def test_a_broken_or_unknown_matrix_is_refused(door: Door, finished: Finished) -> None:
    url = f"{finished.url}/predictions"
    broken = {"coo": {"shape": [1, 80], "row": [0], "col": [80], "data": [1.0]}}
    refused(door.http.post(url, json={"matrix": broken}), 422, "invalid_matrix", says="col[0] is 80")
    refused(door.http.post(url, json={"matrix": {"upload_id": "upl_nobody"}}), 404, "not_found")
    refused(door.http.post(url, json={}), 422, "invalid_request", says="either matrix or problem_id")
    refused(door.http.post(url, json={"matrix": broken, "more": 1}), 422, "invalid_request")


def _targets(door: Door, url: str, **query: Any) -> list[dict[str, Any]]:
    """Give the rows of every page."""
    rows: list[dict[str, Any]] = []
    while True:
        reply = door.http.get(f"{url}/targets", params=query)
        assert reply.status_code == 200, reply.text
        page = reply.json()
        rows += page["data"]
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            return rows
        assert len(page["data"]) == query["limit"]
        query["cursor"] = page["next_cursor"]


def test_every_target_tells_its_fit(door: Door, finished: Finished, dense: NDArray[np.float64]) -> None:
    rows = _targets(door, finished.url, limit=100)
    assert [row["index"] for row in rows] == list(range(12))
    for given, name in ((finished.names, "name"), (finished.groups, "group"), (finished.holdout, "holdout")):
        assert [row[name] for row in rows] == given
    columns = {name: np.array([row[name] for row in rows]) for name in ("value", "initial_estimate", "estimate")}
    np.testing.assert_array_equal(columns["value"], finished.targets)
    np.testing.assert_allclose(columns["initial_estimate"], finished.matrix.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(columns["estimate"], finished.matrix @ dense, rtol=1e-12)
    errors = [row["relative_error"] for row in rows]
    np.testing.assert_allclose(errors, columns["estimate"] / finished.targets - 1, atol=1e-12)
    assert [row["abs_relative_error"] for row in rows] == [abs(error) for error in errors]


_COLUMNS = ("index", "name", "value", "initial_estimate", "estimate", "relative_error", "abs_relative_error")


@pytest.mark.parametrize("column", _COLUMNS)
@pytest.mark.parametrize("sign", ["", "-"])
def test_pages_of_every_order_hold_every_target_once(door: Door, finished: Finished, column: str, sign: str) -> None:
    whole = _targets(door, finished.url, sort=sign + column, limit=1000)
    assert _targets(door, finished.url, sort=sign + column, limit=5) == whole
    values = [row[column] for row in whole]
    assert values == sorted(values, reverse=bool(sign))
    assert {row["index"] for row in whole} == set(range(12))


def test_targets_are_found_by_group_and_holdout(door: Door, finished: Finished) -> None:
    held = _targets(door, finished.url, holdout=True, limit=100)
    assert [row["index"] for row in held] == [i for i in range(12) if finished.holdout[i]]
    fitted = _targets(door, finished.url, holdout=False, group=1, limit=1)
    assert [row["index"] for row in fitted] == [i for i in range(4, 8) if not finished.holdout[i]]
    assert _targets(door, finished.url, group=99, limit=100) == []


# --- a job told by a worker of the test's own, on both databases


def _told(door: Door, rows: list[dict[str, Any]], weights: NDArray[np.float64]) -> str:
    job = door.job(door.listed_problem())
    return f"/v1/jobs/{succeeded(door.system, job['id'], weights=weights, batch=Batch(targets=rows))}"


def test_pages_are_right_where_values_are_equal_or_extreme(inside: Door) -> None:
    values = [0.0, -0.0, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 0.1, 0.1, 0.1, 1 / 3, 2.0**53]
    names = ["a", "A", "a'b", '"', "\\", "\u00e9", "\U0001f600", "%", "_", " "]
    rows = [target_row(i, value=values[i], name=names[i]) for i in range(10)]
    url = _told(inside, rows, np.ones(3))
    for column in _COLUMNS:
        for sign in ("", "-"):
            whole = _targets(inside, url, sort=sign + column, limit=1000)
            assert len(whole) == 10
            for limit in (1, 3):
                assert _targets(inside, url, sort=sign + column, limit=limit) == whole
    assert [row["value"] for row in _targets(inside, url, limit=4)] == values


def _cursor(place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("sort", "cursor"),
    [
        ("index", "!!"),
        ("index", _cursor(1)),
        ("index", _cursor([1])),
        ("index", _cursor(["index", 1, "2"])),
        ("index", _cursor(["index", 1, 2.0])),
        ("value", _cursor(["value", "x", 1])),
        ("value", _cursor(["value", None, 1])),
        ("value", _cursor(["value", [], 1])),
        ("value", _cursor(["value", 10**400, 1])),
        ("value", _cursor(["value", 0.5, 10**30])),
        ("name", _cursor(["name", "\ud800", 1])),
    ],
)
def test_a_cursor_of_another_make_is_refused(door: Door, finished: Finished, sort: str, cursor: str) -> None:
    reply = door.http.get(f"{finished.url}/targets", params={"sort": sort, "cursor": cursor})
    refused(reply, 422, "invalid_request", pointer="/cursor")


def test_a_cursor_of_another_order_is_refused(door: Door, finished: Finished) -> None:
    url = f"{finished.url}/targets"
    cursor = door.http.get(url, params={"sort": "-value", "limit": 3}).json()["next_cursor"]
    reply = door.http.get(url, params={"sort": "abs_relative_error", "limit": 3, "cursor": cursor})
    refused(reply, 422, "invalid_request", pointer="/cursor")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"sort": "price; DROP TABLE jobs"}, "/sort"),
        ({"sort": ""}, "/sort"),
        ({"sort": "-"}, "/sort"),
        ({"sort": "--index"}, "/sort"),
        ({"sort": "job_id"}, "/sort"),
        ({"sort": "x" * 41}, "/sort"),
        ({"limit": 0}, "/limit"),
        ({"holdout": "perhaps"}, "/holdout"),
        ({"group": "1.5"}, "/group"),
    ],
)
def test_a_bad_question_is_refused_and_named(
    door: Door, finished: Finished, query: dict[str, Any], pointer: str
) -> None:
    refused(door.http.get(f"{finished.url}/targets", params=query), 422, "invalid_request", pointer=pointer)


def test_a_group_beyond_64_bits_is_no_500(door: Door, finished: Finished) -> None:
    reply = door.http.get(f"{finished.url}/targets", params={"group": 10**20})
    assert reply.status_code in (200, 422)


@_ON_SQLITE
@pytest.mark.parametrize("n_units", [0, 1, 50_000, 50_001, 120_000])
def test_long_weights_are_whole_however_they_are_cut(inside: Door, n_units: int) -> None:
    weights = np.random.default_rng(n_units).random(n_units)
    weights[1::3] = 0.0
    url = f"{_told(inside, [], weights)}/weights"
    body = inside.http.get(url).json()
    assert (body["n_units"], body["count"]) == (n_units, int((weights > 0).sum()))
    assert np.array(body["values"]).tobytes() == weights[weights > 0].tobytes()
    assert body["indices"] == np.flatnonzero(weights).tolist()
    whole = inside.http.get(url, params={"active_only": False}).json()
    assert np.array(whole["values"]).tobytes() == weights.tobytes()
    lines = inside.http.get(url, params={"format": "csv", "active_only": False}).text.splitlines()
    assert (lines[0], len(lines)) == ("index,weight", n_units + 1)
    assert [float(line.split(",")[1]) for line in lines[1:]] == weights.tolist()
