"""Tables of results: a route for each name that a kind declares; every form of a table is the same rows."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from l0core.kind import Table
from l0core.kinds import KINDS
from service.api import schemas
from service.api.routes import result_tables
from service.jobs.values import Batch
from service.problems.trusted import npy_bytes
from service.settings import Settings
from tests.service.api.door import Door, called_here, refused
from tests.service.api.endings import succeeded

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PICKS = Table(
    artifact="picks.npy", columns={"index": "indices", "type": "types", "weight": "weights", "kept": "are_kept"}
)
ROWS = np.array(
    [(3, "l0", 0.1 + 0.2, True), (2**40, "random", 1e-300, False), (5, "l0", 7.0, True)],
    dtype=[("index", "<i8"), ("type", "<U6"), ("weight", "<f8"), ("kept", "?")],
)


@pytest.fixture
def picking(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """The API as it is where the one kind declares a table."""
    monkeypatch.setitem(KINDS, "calibration", replace(KINDS["calibration"], tables={"picks": PICKS}))
    monkeypatch.setattr(result_tables, "router", result_tables.router_of(KINDS))
    with called_here(settings) as opened:
        yield opened


@pytest.fixture
def url(picking: Door) -> str:
    """The table of a job that has one."""
    return _with_table(picking, ROWS)


def _with_table(door: Door, rows: np.ndarray[Any, Any]) -> str:
    job = door.job(door.listed_problem())["id"]
    succeeded(door.system, job, weights=np.ones(3), batch=Batch(), files={PICKS.artifact: npy_bytes(rows)})
    return f"/v1/jobs/{job}/picks"


def _columns(reply: httpx.Response) -> dict[str, list[Any]]:
    """Give what a reply holds by the fields of the rows, whatever its form."""
    match reply.headers["Content-Type"].partition(";")[0]:
        case "application/json":
            return {field: reply.json()[column] for field, column in PICKS.columns.items()}
        case "application/x-npy":
            rows = np.load(io.BytesIO(reply.content), allow_pickle=False)
            return {field: rows[field].tolist() for field in rows.dtype.names}
        case "text/csv":
            read = list(csv.DictReader(io.StringIO(reply.text)))
            types: dict[str, Callable[[str], Any]] = {
                "index": int,
                "type": str,
                "weight": float,
                "kept": lambda text: text == "True",
            }
            return {field: [make(row[field]) for row in read] for field, make in types.items()}
        case "application/vnd.apache.parquet":
            read_back: dict[str, list[Any]] = pq.read_table(io.BytesIO(reply.content)).to_pydict()
            return read_back
    columns: dict[str, list[Any]] = pa.ipc.open_file(reply.content).read_all().to_pydict()
    return columns


@_ON_SQLITE
@pytest.mark.parametrize("form", ["json", "csv", "parquet", "arrow", "npy"])
def test_every_form_holds_the_same_rows(picking: Door, url: str, form: str) -> None:
    expected = {field: ROWS[field].tolist() for field in ROWS.dtype.names or ()}
    named = picking.http.get(url, params={"format": form})
    assert _columns(named) == expected
    liked = picking.http.get(url, headers={"Accept": named.headers["Content-Type"]})
    assert liked.content == named.content


@_ON_SQLITE
def test_json_is_columns_and_their_count_and_comes_by_default(picking: Door, url: str) -> None:
    reply = picking.http.get(url)
    assert reply.headers["Content-Type"] == "application/json"
    assert list(reply.json()) == [*PICKS.columns.values(), "count"]
    assert reply.json()["count"] == 3


@_ON_SQLITE
def test_a_table_without_rows_is_one_too_and_what_is_no_number_is_null(picking: Door) -> None:
    empty = picking.http.get(_with_table(picking, ROWS[:0])).json()
    assert empty == {"indices": [], "types": [], "weights": [], "are_kept": [], "count": 0}
    rows = ROWS.copy()
    rows["weight"][1] = np.nan
    assert picking.http.get(_with_table(picking, rows)).json()["weights"] == [0.1 + 0.2, None, 7.0]


@_ON_SQLITE
def test_a_form_that_there_is_not_is_refused(picking: Door, url: str) -> None:
    refused(picking.http.get(url, params={"format": "xlsx"}), 406, "not_acceptable", says="json, csv, parquet")
    refused(picking.http.get(url, headers={"Accept": "image/png"}), 406, "not_acceptable", says="text/csv")
    refused(picking.http.get(url, params={"formt": "csv"}), 422, "invalid_request", pointer="/formt")


@_ON_SQLITE
def test_it_is_sent_whole_in_part_or_not_at_all(picking: Door, url: str) -> None:
    whole = picking.http.get(url, params={"format": "npy"})
    etag = whole.headers["ETag"]
    assert picking.http.get(url, params={"format": "npy"}, headers={"If-None-Match": etag}).status_code == 304
    part = picking.http.get(url, params={"format": "npy"}, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    head = picking.http.head(url, params={"format": "npy"})
    assert (head.headers["ETag"], head.headers["Content-Length"]) == (etag, str(len(whole.content)))
    assert picking.http.get(url, params={"format": "csv"}).headers["ETag"] != etag


@_ON_SQLITE
def test_a_job_without_a_result_says_so(picking: Door) -> None:
    job = picking.job(picking.listed_problem())
    refused(picking.http.get(job["links"]["picks"]), 409, "result_not_ready", says="pending")


@_ON_SQLITE
def test_a_job_whose_kind_has_no_such_table_says_so(picking: Door, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for tables, says in (({}, "it has no tables"), ({"others": PICKS}, "there are others")):
        monkeypatch.setitem(KINDS, "calibration", replace(KINDS["calibration"], tables=tables))
        refused(picking.http.get(url), 404, "not_found", says=f"a calibration job has no picks; {says}")


@_ON_SQLITE
def test_a_job_that_has_left_none_says_so(picking: Door) -> None:
    job = picking.job(picking.listed_problem())["id"]
    succeeded(picking.system, job, weights=np.ones(3), batch=Batch())
    refused(picking.http.get(f"/v1/jobs/{job}/picks"), 404, "not_found", says="has left no picks.npy")


def test_the_document_knows_a_table_by_its_columns() -> None:
    kind = replace(KINDS["calibration"], tables={"first_picks": PICKS})
    (model,) = schemas.table_models({"calibration": kind}).values()
    assert (model.__name__, list(model.model_fields)) == ("FirstPicksTable", [*PICKS.columns.values(), "count"])


@pytest.mark.parametrize("kind", KINDS)
def test_no_table_is_named_like_another_route_or_another_kind_s_table_of_other_columns(kind: str) -> None:
    taken = {"events", "findings", "metrics", "weights", "predictions", "targets", "checkpoints", "artifacts", "log"}
    for name, table in KINDS[kind].tables.items():
        assert name.isidentifier()
        assert name not in taken | {"webhook", "cancel", "retry"}
        assert all(other.tables.get(name, table).columns == table.columns for other in KINDS.values())
