"""Loss curves over HTTP: never more points than asked for, and every point lies between the ends of its bucket."""

import csv
import io
import math
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.jobs.values import Batch
from tests.service.api.door import Door, refused
from tests.service.api.endings import Finished, claimed, told

_N = 3000


def _loss(step: int) -> float | None:
    return None if step % 500 == 499 else 1 / step + 0.01 * math.sin(step)


@pytest.fixture(scope="module")
def curves(door: Door) -> str:
    """A running job with 3,000 points of one curve, some of them no numbers, and a curve of one point."""
    job = door.job(door.listed_problem())
    held = claimed(door.system, job["id"])
    points: list[tuple[int, dict[str, float | None]]] = [(step, {"loss": _loss(step)}) for step in range(1, _N + 1)]
    points[-1][1]["once"] = 7.0
    for start in range(0, _N, 1000):
        told(door.system, held, Batch(metrics=points[start : start + 1000]))
    return f"/v1/jobs/{job['id']}/metrics"


def _curve(door: Door, url: str, key: str = "loss", **query: Any) -> dict[str, Any]:
    reply = door.http.get(url, params=query)
    assert reply.status_code == 200, reply.text
    curve: dict[str, Any] = reply.json()["metrics"][key]
    assert len({len(curve[name]) for name in ("step", "last", "min", "max")}) == 1
    return curve


def test_a_running_job_has_curves(door: Door, curves: str) -> None:
    metrics = door.http.get(curves).json()["metrics"]
    assert set(metrics) == {"loss", "once"}
    assert metrics["once"] == {"step": [_N], "last": [7.0], "min": [7.0], "max": [7.0], "n": 1}
    assert metrics["loss"]["n"] == _N


def test_a_job_that_has_not_begun_has_none(door: Door, problem_id: str) -> None:
    assert door.http.get(door.job(problem_id)["links"]["metrics"]).json() == {"metrics": {}}


@pytest.mark.parametrize("max_points", [1, 2, 7, 999, 1000, 2999, 3000, 3001, 10_000])
def test_buckets_are_few_and_hold_their_points(door: Door, curves: str, max_points: int) -> None:
    curve = _curve(door, curves, max_points=max_points)
    assert 1 <= len(curve["step"]) <= max_points
    assert curve["step"] == sorted(set(curve["step"]))
    assert curve["step"][-1] == _N
    assert curve["last"] == [_loss(step) for step in curve["step"]]
    start = 1
    for step, low, high in zip(curve["step"], curve["min"], curve["max"], strict=True):
        inside = [value for value in map(_loss, range(start, step + 1)) if value is not None]
        assert (low, high) == ((min(inside), max(inside)) if inside else (None, None))
        start = step + 1


def test_all_points_come_where_they_fit(door: Door, curves: str) -> None:
    curve = _curve(door, curves, max_points=_N)
    assert curve["step"] == list(range(1, _N + 1))
    assert curve["last"] == curve["min"] == curve["max"] == [_loss(step) for step in range(1, _N + 1)]
    assert curve["last"][498] is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, _N + 100), st.none() | st.integers(0, _N + 100), st.integers(1, 50))
def test_a_part_of_a_curve_is_that_part(
    door: Door, curves: str, from_step: int, to_step: int | None, max_points: int
) -> None:
    query: dict[str, Any] = {} if to_step is None else {"to_step": to_step}
    curve = _curve(door, curves, from_step=from_step, max_points=max_points, **query)
    first, last = max(1, from_step), min(_N, _N if to_step is None else to_step)
    assert len(curve["step"]) <= max_points
    assert bool(curve["step"]) is (first <= last)
    if curve["step"]:
        assert first <= curve["step"][0]
        assert curve["step"][-1] == last


def test_only_the_curves_asked_for_are_given(door: Door, curves: str) -> None:
    def keys(asked: str) -> list[str]:
        return list(door.http.get(curves, params={"keys": asked}).json()["metrics"])

    assert keys("once") == ["once"]
    assert keys("once,loss") == ["once", "loss"]
    assert keys("nothing") == keys("") == keys("LOSS") == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"max_points": 0}, "/max_points"),
        ({"max_points": 10_001}, "/max_points"),
        ({"from_step": -1}, "/from_step"),
        ({"to_step": -1}, "/to_step"),
        ({"from_step": "x"}, "/from_step"),
        ({"keys": "x" * 2001}, "/keys"),
    ],
)
def test_a_bad_question_is_refused_and_named(door: Door, curves: str, query: dict[str, Any], pointer: str) -> None:
    refused(door.http.get(curves, params=query), 422, "invalid_request", pointer=pointer)


@pytest.mark.parametrize("name", ["from_step", "to_step"])
def test_a_step_beyond_64_bits_is_no_500(door: Door, curves: str, name: str) -> None:
    assert door.http.get(curves, params={name: 10**20}).status_code in (200, 422)


def test_postgresql_and_sqlite_make_the_same_buckets(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    points: list[tuple[int, dict[str, float | None]]] = [(3 * step, {"loss": float(step % 7)}) for step in range(100)]
    told(inside.system, claimed(inside.system, job["id"]), Batch(metrics=points))
    curve = _curve(inside, job["links"]["metrics"], max_points=10)
    assert curve["step"] == [30, 63, 93, 126, 159, 189, 222, 255, 285, 297]
    assert (curve["min"], curve["max"], curve["n"]) == ([0.0] * 10, [6.0] * 10, 100)


def test_a_finished_job_has_the_curves_its_kind_declares(door: Door, finished: Finished) -> None:
    declared = door.http.get("/v1/methods/calibration/schema").json()["metrics"]
    metrics = door.http.get(f"{finished.url}/metrics").json()["metrics"]
    assert set(metrics) == set(declared)
    for curve in metrics.values():
        for low, last, high in zip(curve["min"], curve["last"], curve["max"], strict=True):
            assert last is None or low <= last <= high


# --- every point, as a table


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_has_every_point_as_it_was_told(door: Door, curves: str, form: str) -> None:
    reply = door.http.get(curves, params={"format": form})
    assert reply.status_code == 200
    rows = _rows(reply, form)
    expected: list[tuple[str, int, float | None]] = [("loss", step, _loss(step)) for step in range(1, _N + 1)]
    assert rows == [*expected, ("once", _N, 7.0)]
    part = _rows(
        door.http.get(curves, params={"format": form, "keys": "loss,none", "from_step": 7, "to_step": 9}), form
    )
    assert part == expected[6:9]


def _rows(reply: httpx.Response, form: str) -> list[tuple[str, int, float | None]]:
    if form == "parquet":
        return [(row["key"], row["step"], row["value"]) for row in pq.read_table(io.BytesIO(reply.content)).to_pylist()]
    lines = csv.DictReader(io.StringIO(reply.text))
    return [(line["key"], int(line["step"]), float(line["value"]) if line["value"] else None) for line in lines]


def test_a_table_is_not_sent_again_before_something_is_new(door: Door) -> None:
    job = door.job(door.listed_problem())
    held = claimed(door.system, job["id"])
    url = f"/v1/jobs/{job['id']}/metrics?format=csv"
    etag = door.http.get(url).headers["ETag"]
    assert door.http.get(url, headers={"If-None-Match": etag}).status_code == 304
    told(door.system, held, Batch(progress={"epoch": 1}, metrics=[(1, {"loss": 1.0})]))
    assert door.http.get(url, headers={"If-None-Match": etag}).status_code == 200
    refused(door.http.get(url.replace("csv", "npy")), 406, "not_acceptable", says="json, csv, parquet")
