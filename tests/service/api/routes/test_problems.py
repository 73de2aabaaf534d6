"""Problems over HTTP: one content address for every form, and a refusal in words for whatever is none."""

import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import scipy.sparse as sp
from backports import zstd
from safetensors.numpy import save
from sqlalchemy import text

from service.auth.guard import ANONYMOUS_TENANT
from service.jobs import lifecycle
from service.jobs.values import JobRequest
from service.problems import repository
from service.settings import Settings
from service.system import System
from tests.service.api.door import Door, called_here, job_body, other_targets, problem_body, refused, until
from tests.service.problems.files import (
    MATRIX_MARKET,
    NPY,
    NPZ,
    PARQUET,
    SAFETENSORS,
    TWO_BY_THREE,
    bomb,
    csr_with,
    every_form,
    mm,
    no_file_above,
    npy,
    npy_saying,
    npz,
    parquet,
    safetensors_saying,
    triples_with,
)
from tests.service.problems.formats.test_mutations import changed

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
_JSON = {"Content-Type": "application/json"}


def _post(door: Door, body: object, **query: Any) -> httpx.Response:
    return door.http.post("/v1/problems", json=body, params=query)


def _in_parallel(door: Door, bodies: dict[str, dict[str, Any]], **query: Any) -> dict[str, httpx.Response]:
    """Send every body, two at a time: each starts a process that parses."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(bodies, pool.map(lambda body: _post(door, body, **query), bodies.values()), strict=True))


def test_a_problem_is_created_described_and_found_again(door: Door) -> None:
    targets = other_targets()
    reply = _post(door, problem_body(targets=targets, tags={"survey": "cps"}))
    assert reply.status_code == 201
    view = reply.json()
    assert view["id"].startswith("prb_")
    assert {name: view[name] for name in ("kind", "n_targets", "n_units", "nnz", "findings", "tags")} == {
        "kind": "calibration",
        "n_targets": 2,
        "n_units": 3,
        "nnz": 3,
        "findings": [],
        "tags": {"survey": "cps"},
    }
    assert door.http.get(f"/v1/problems/{view['id']}").json() == view
    again = _post(door, problem_body(targets=targets))
    assert (again.status_code, again.json()) == (200, view)
    assert door.incoming == []


def _encoded(door: Door, data: bytes, encoding: str) -> str:
    body = gzip.compress(data) if encoding == "gzip" else zstd.compress(data)
    headers = {"Content-Type": NPZ, "Content-Encoding": encoding}
    upload_id: str = door.http.post("/v1/uploads", content=body, headers=headers).json()["id"]
    return upload_id


_FORMS = ("csc", "coo", "npy", "Matrix Market", "Parquet", "safetensors csr", "safetensors coo")


@pytest.fixture(scope="module")
def forms(door: Door) -> dict[str, httpx.Response]:
    """The same numbers in every form, one after the other."""
    targets = other_targets()
    csr = sp.csr_array(TWO_BY_THREE)
    coo = csr.tocoo()
    row, col, data = coo.row.tolist(), coo.col.tolist(), coo.data.tolist()
    triples = {"row": row[::-1], "col": col[::-1], "data": data[::-1]}
    sent: dict[str, dict[str, Any]] = {
        "inline csr": {},
        "backwards coo": {"matrix": {"coo": {"shape": [2, 3], **triples}}},
        "zeros stored": {
            "matrix": {"coo": {"shape": [2, 3], "row": [0, *row], "col": [2, *col], "data": [0.0, *data]}}
        },
        "defaults written out": {
            "initial_weights": [1.0, 1.0, 1.0],
            "target_names": ["target_0", "target_1"],
            "target_weights": [1, 1],
            "holdout": [False, False],
        },
        "all uploaded": {
            "matrix": {"upload_id": door.upload(csr_with(), NPZ)},
            "targets": {"upload_id": door.upload(npy(np.array(targets, dtype=">f8")), NPY)},
            "initial_weights": {"upload_id": door.upload(npy(np.ones(3, dtype="f4")), NPY)},
            "target_weights": {"upload_id": door.upload(npy(np.ones(2, dtype="i2")), NPY)},
            "holdout": {"upload_id": door.upload(npy(np.zeros(2, dtype=bool)), NPY)},
        },
    }
    files = {form: file for form, file in every_form(TWO_BY_THREE).items() if form in _FORMS}  # the readers have more
    uploads = {form: door.upload(data, content_type) for form, (content_type, data) in files.items()}
    uploads["Parquet without a shape"] = door.upload(parquet(triples_with()), PARQUET)
    sent |= {form: {"matrix": {"upload_id": upload_id}} for form, upload_id in uploads.items()}
    for encoding, content_type, vector in (
        ("gzip", PARQUET, parquet({"total": np.array(targets)})),
        ("zstd", SAFETENSORS, save({"totals": np.array(targets)})),
    ):
        sent[f"{encoding}, targets as {content_type}"] = {
            "matrix": {"upload_id": _encoded(door, csr_with(data=[1, 2, 3]), encoding)},
            "targets": {"upload_id": door.upload(vector, content_type)},
        }
    return _in_parallel(door, {form: problem_body(**{"targets": targets, **body}) for form, body in sent.items()})


def test_the_same_numbers_in_every_form_are_one_problem(forms: dict[str, httpx.Response]) -> None:
    assert sorted(reply.status_code for reply in forms.values()) == [200] * (len(forms) - 1) + [201]
    assert {form: reply.json()["id"] for form, reply in forms.items()} == dict.fromkeys(
        forms, forms["inline csr"].json()["id"]
    )
    assert len({reply.json()["sha256"] for reply in forms.values()}) == 1


def test_bounds_and_protected_units_are_the_same_problem_in_every_form(door: Door) -> None:
    targets = other_targets()
    bounds = {"lower": door.upload(npy(np.array([0.0, 0.5, 0.0])), NPY), "upper": door.upload(npy(np.full(3, 9)), NPY)}
    units = door.upload(npy(np.array([2, 1])), NPY)
    sent: dict[str, dict[str, Any]] = {
        "inline": {"weight_bounds": {"lower": [0, 0.5, 0], "upper": 9}, "protected_units": [1, 2]},
        "uploaded": {
            "weight_bounds": {side: {"upload_id": upload} for side, upload in bounds.items()},
            "protected_units": {"upload_id": units},
        },
        "no bound, no unit": {"weight_bounds": {"lower": 0}, "protected_units": []},
        "neither": {},
    }
    replies = _in_parallel(door, {form: problem_body(targets=targets, **body) for form, body in sent.items()})
    sha = {form: reply.json()["sha256"] for form, reply in replies.items()}
    assert sha["inline"] == sha["uploaded"] != sha["neither"] == sha["no bound, no unit"]


def test_every_bit_of_a_number_counts_inline_and_uploaded_alike(door: Door) -> None:
    values = np.frombuffer(np.random.default_rng(5).bytes(8 * 3000))
    values = values[np.isfinite(values)]
    values = np.concatenate([values, [5e-324, -5e-324, 1.7976931348623157e308, 0.1, -0.0, 2.0**-1022]])
    row = np.zeros(values.size, int)
    inline = {"coo": {"shape": [1, values.size], "row": row.tolist(), "col": list(range(values.size))}}
    inline["coo"]["data"] = values.tolist()
    upload = door.upload(npy(values.reshape(1, -1)), NPY)
    bodies = {
        "inline": problem_body(matrix=inline, targets=[1.0]),
        "uploaded": problem_body(matrix={"upload_id": upload}, targets=[1.0]),
        "next": problem_body(matrix={"upload_id": upload}, targets=[float(np.nextafter(1.0, 2.0))]),
    }
    shas = {form: reply.json()["sha256"] for form, reply in _in_parallel(door, bodies, validate_only=True).items()}
    assert shas["inline"] == shas["uploaded"] != shas["next"]


def test_validate_only_gives_the_same_report_and_stores_nothing(door: Door) -> None:
    body = problem_body(targets=other_targets(), matrix=_NOBODY)
    before = door.rows()
    only = _post(door, body, validate_only=True)
    assert (only.status_code, door.rows(), door.incoming) == (200, before, [])
    stored = _post(door, body)
    assert stored.status_code == 201
    told = stored.json()
    assert only.json() == {name: told[name] for name in told if name not in ("id", "tags", "created_at")}


_NOBODY = {"coo": {"shape": [2, 3], "row": [0, 0], "col": [1, 1], "data": [1.0, 2.0]}}


def test_findings_tell_what_was_mended_and_what_is_doubtful(door: Door) -> None:
    body = problem_body(matrix=_NOBODY, target_names=["people", "nobody"], initial_weights=[1.0, 1.0, 0.0])
    findings = {finding["code"]: finding for finding in _post(door, body).json()["findings"]}
    assert set(findings) == {"duplicates_summed", "no_support", "empty_columns", "zero_design_weights"}
    assert findings["no_support"]["target"] == "nobody"
    assert findings["no_support"]["severity"] == "error"
    assert "'nobody' is 4.5, and no unit contributes" in findings["no_support"]["message"]
    assert findings["empty_columns"]["value"] == 2


def test_what_was_mended_is_said_of_a_problem_that_is_held_already(door: Door) -> None:
    targets = other_targets()
    door.problem(targets=targets, matrix=_coo([2, 3], [0], [1], [3.0]))
    only, stored = (
        _post(door, problem_body(targets=targets, matrix=_NOBODY), validate_only=validate_only).json()
        for validate_only in (True, False)
    )
    assert stored["findings"] == only["findings"]


# --- what Python's json or the models refuse, before any process is started


def _text(**changed: Any) -> str:
    return json.dumps(problem_body(**changed))


_BAD_FIELDS = [
    pytest.param({"targets": [float("nan"), 1.0]}, "/targets/0", id="NaN"),
    pytest.param({"targets": [1.0, float("-inf")]}, "/targets/1", id="-Infinity"),
    pytest.param({"targets": ["0.5", 1.0]}, "/targets/0", id="a text for a number"),
    pytest.param({"targets": [1.0, True]}, "/targets/1", id="true for a number"),
    pytest.param({"targets": [1.0, None]}, "/targets/1", id="null for a number"),
    pytest.param({"targets": [[1.0], [2.0]]}, "/targets/0", id="a list for a number"),
    pytest.param({"targets": [10**400, 1]}, "/targets/0", id="a whole number beyond floats"),
    pytest.param({"targets": 3.0}, "/targets", id="a number for a list"),
    pytest.param({"targets": {"upload_id": "../x"}}, "/targets/upload_id", id="no id"),
    pytest.param({"targets": {"upload_id": "upl_1", "more": 1}}, "/targets/more", id="one key more"),
    pytest.param({"matrix": "M"}, "/matrix", id="a text for a matrix"),
    pytest.param({"matrix": {}}, "/matrix", id="no matrix in the matrix"),
    pytest.param({"matrix": {"csr": {"shape": [2, 3]}}}, "/matrix/csr/indptr", id="half a csr"),
    pytest.param(
        {"matrix": {"coo": {"shape": [2], "row": [], "col": [], "data": []}}},
        "/matrix/coo/shape",
        id="1-D",
    ),
    pytest.param(
        {"matrix": {"coo": {"shape": [2.0, 3.0], "row": [], "col": [], "data": []}}},
        "/matrix/coo/shape/0",
        id="float shape",
    ),
    pytest.param(
        {"matrix": {"coo": {"shape": [2, -3], "row": [], "col": [], "data": []}}},
        "/matrix/coo/shape/1",
        id="negative shape",
    ),
    pytest.param(
        {"matrix": {"coo": {"shape": [2, 3], "row": [0.5], "col": [0], "data": [1.0]}}},
        "/matrix/coo/row/0",
        id="half a row",
    ),
    pytest.param({"target_groups": [1.5, 2]}, "/target_groups/0", id="half a group"),
    pytest.param({"holdout": [0, 1]}, "/holdout/0", id="0 for false"),
    pytest.param({"initial_weights": "1"}, "/initial_weights", id="a text for weights"),
    pytest.param({"target_names": ["a", 1]}, "/target_names/1", id="a number for a name"),
    pytest.param({"target_names": "ab"}, "/target_names", id="a text for names"),
    pytest.param({"weight_bounds": 5}, "/weight_bounds", id="one bound for both"),
    pytest.param({"weight_bounds": {"upper": "5"}}, "/weight_bounds/upper", id="a text for a bound"),
    pytest.param({"weight_bounds": {"upper": [1, "5"]}}, "/weight_bounds/upper/1", id="a text among the bounds"),
    pytest.param({"weight_bounds": {"upper": 10**400}}, "/weight_bounds/upper", id="a bound beyond floats"),
    pytest.param({"weight_bounds": {"max": 1}}, "/weight_bounds/max", id="no such bound"),
    pytest.param({"protected_units": [0.5]}, "/protected_units/0", id="half a unit"),
    pytest.param({"kind": "weighing"}, "/kind", id="an unknown kind"),
    pytest.param({"kind": None}, "/kind", id="no kind"),
    pytest.param({"matrix": None}, "/matrix", id="no matrix"),
    pytest.param({"targets": None}, "/targets", id="no targets"),
    pytest.param({"colour": "red"}, "/colour", id="an unknown field"),
    pytest.param({"a/b~c": 1}, "/a~1b~0c", id="a name that a pointer must escape"),
    pytest.param({"tags": {"a": 1}}, "/tags/a", id="a number for a tag"),
    pytest.param({"tags": {f"t{i}": "" for i in range(33)}}, "/tags", id="too many tags"),
    pytest.param({"tags": {"a": "x" * 257}}, "/tags/a", id="too long a tag"),
]


def _refused_body(door: Door, changed: dict[str, Any]) -> dict[str, Any]:
    reply = door.http.post("/v1/problems", content=_text(**changed), headers=_JSON)
    return refused(reply, 422, "invalid_request")


@pytest.mark.parametrize("changed", [pytest.param(*case.values[:1], id=case.id) for case in _BAD_FIELDS])
def test_a_field_of_the_wrong_kind_is_refused(door: Door, problem_id: str, changed: dict[str, Any]) -> None:
    body = _refused_body(door, changed)
    assert body["detail"]
    assert body["errors"]
    assert door.http.get(f"/v1/problems/{problem_id}").status_code == 200


@pytest.mark.parametrize(("changed", "pointer"), _BAD_FIELDS)
def test_the_refusal_points_at_the_fault(door: Door, changed: dict[str, Any], pointer: str) -> None:
    assert _refused_body(door, changed)["errors"][0]["pointer"] == pointer


_NOT_JSON = {
    "empty": b"",
    "half": b'{"kind": ',
    "one comma more": _text()[:-1].encode() + b",}",
    "single quotes": b"{'kind': 'calibration'}",
    "not UTF-8": b'{"kind": "\xff\xfe"}',
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "1e400": _text(targets=[3.0, 4.5]).replace("4.5", "1e400").encode(),
    "-1e400": _text(targets=[3.0, 4.5]).replace("4.5", "-1e400").encode(),
    "Infinity": _text(targets=[3.0, 4.5]).replace("4.5", "Infinity").encode(),
    "5000 digits": _text(targets=[3.0, 4.5]).replace("4.5", "1" * 5000).encode(),
    "100,000 lists deep": b'{"kind": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 lists open": b"[" * 100_000,
    "100,000 objects deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "half a surrogate as a key": b'{"\\ud800": 1}',
    "half a surrogate as the kind": _text(kind="\ud800").encode(),
    "half a surrogate in an upload's id": _text(matrix={"upload_id": "upl_\ud800"}).encode(),
    "half a surrogate in a tag": _text(tags={"\ud800": "\udfff"}).encode(),
    "half a surrogate in a field's name": _text(**{"\udfff": 1}).encode(),
}


@pytest.mark.parametrize("name", _NOT_JSON)
def test_a_body_that_is_no_sound_json_is_refused(door: Door, problem_id: str, name: str) -> None:
    reply = door.http.post("/v1/problems", content=_NOT_JSON[name], headers=_JSON)
    assert reply.status_code in (400, 422), reply.text
    refused(reply, reply.status_code, "bad_request" if reply.status_code == 400 else "invalid_request")
    assert door.http.get(f"/v1/problems/{problem_id}").status_code == 200


def test_broken_json_has_no_place_inside_itself(door: Door) -> None:
    reply = door.http.post("/v1/problems", content=b'{"kind": ', headers=_JSON)
    assert refused(reply, 422, "invalid_request")["errors"][0]["pointer"] == ""


def test_half_a_surrogate_in_a_target_name_is_refused(door: Door) -> None:
    reply = door.http.post("/v1/problems", content=_text(target_names=["\ud800", "b"]), headers=_JSON)
    refused(reply, 422, "invalid_request")


def test_a_key_that_comes_twice_is_refused(door: Door) -> None:
    twice = _text()[:-1] + ', "targets": [7.0, 8.0]}'
    reply = door.http.post("/v1/problems", content=twice, headers=_JSON)
    assert reply.status_code in (400, 422), reply.text


@pytest.mark.parametrize("name", ["text/plain", "application/jsonp", "text/json; charset=utf-8", ""])
def test_json_under_another_name_is_refused(door: Door, name: str) -> None:
    reply = door.http.post("/v1/problems", content=_text(), headers={"Content-Type": name} if name else {})
    refused(reply, 415, "unsupported_media_type", says="application/json")


def test_a_multipart_form_is_sent_to_uploads(door: Door) -> None:
    reply = door.http.post("/v1/problems", files={"matrix": b"data"})
    refused(reply, 415, "unsupported_media_type", says="files to POST /v1/uploads")


@pytest.mark.parametrize("name", ["application/json; charset=utf-8", "Application/JSON", "application/problem+json"])
def test_json_may_be_named_in_full(door: Door, name: str) -> None:
    assert door.http.post("/v1/problems", content=_text(), headers={"Content-Type": name}).is_success


@pytest.mark.parametrize("declared", [True, False])
def test_two_megabytes_of_json_are_sent_to_uploads(door: Door, *, declared: bool) -> None:
    data = _text(targets=[0.5] * 500_000).encode()
    pieces = (data[start : start + 2**16] for start in range(0, len(data), 2**16))
    reply = door.http.post("/v1/problems", content=data if declared else pieces, headers=_JSON)
    refused(reply, 413, "payload_too_large", says="send large arrays to POST /v1/uploads and name them by upload_id")
    assert door.http.get("/healthz").status_code == 200


# --- what only the process that parses can see


def _npz(data: bytes) -> Callable[[Door], dict[str, Any]]:
    return lambda door: {"matrix": {"upload_id": door.upload(data, NPZ)}}


def _uploaded(content_type: str, data: bytes) -> Callable[[Door], dict[str, Any]]:
    return lambda door: {"matrix": {"upload_id": door.upload(data, content_type)}}


def _npy(field: str, data: bytes) -> Callable[[Door], dict[str, Any]]:
    return lambda door: {field: {"upload_id": door.upload(data, NPY)}}


def _inline(**fields: Any) -> Callable[[Door], dict[str, Any]]:
    return lambda _: fields


def _coo(shape: list[int], row: list[int], col: list[int], data: list[float]) -> dict[str, Any]:
    return {"coo": {"shape": shape, "row": row, "col": col, "data": data}}


_MATRIX, _SHAPE, _REQUEST = "invalid_matrix", "shape_mismatch", "invalid_request"
_BAD_CONTENT: dict[str, tuple[Callable[[Door], dict[str, Any]], str, str, str]] = {
    "not a zip": (_npz(b"not a zip"), _MATRIX, "/matrix", "not a readable .npz"),
    "zip bomb": (_npz(bomb()), _MATRIX, "/matrix", "more than 200-fold"),
    "pickled members": (_npz(csr_with(data=np.array([None]))), "pickle_not_allowed", "/matrix", "pickles are never"),
    "npz: 2e9 items": (
        _npz(csr_with(data=npy_saying("'<f8'", "(2000000000,)", bytes(16)))),
        _REQUEST,
        "/matrix",
        "promises 16000000128 bytes",
    ),
    "npy: 2e9 items": (
        _npy("targets", npy_saying("'<f8'", "(2000000000,)", bytes(16))),
        _REQUEST,
        "/targets",
        "promises 16000000128 bytes",
    ),
    "shape (2, 2**40)": (_npz(csr_with(shape=[2, 2**40])), _MATRIX, "/matrix", "1099511627776 columns"),
    "npz: index out of range": (_npz(csr_with(indices=[0, 1, 3])), _MATRIX, "/matrix", "indices[2] is 3"),
    "inline: negative index": (_inline(matrix=_coo([2, 3], [0], [-1], [1.0])), _MATRIX, "/matrix", "col[0] is -1"),
    "npz: falling indptr": (_npz(csr_with(indptr=[0, 4, 3])), _MATRIX, "/matrix", "falls from 4 to 3"),
    "npz: NaN": (_npz(csr_with(data=[1.0, np.nan, 2.0])), "nonfinite_input", "/matrix", "1 of the matrix's 3"),
    "npy of objects": (_npy("targets", npy(np.array([None, 1]))), "pickle_not_allowed", "/targets", "Python objects"),
    "npz for a vector": (
        lambda door: {"targets": {"upload_id": door.upload(csr_with(), NPZ)}},
        _REQUEST,
        "/targets",
        "cannot be a vector; send application/x-npy",
    ),
    "vector for a matrix": (_npy("matrix", npy([1.0, 2.0])), _REQUEST, "/matrix", "a dense matrix has 2"),
    "Matrix Market: a column too far": (
        _uploaded(MATRIX_MARKET, mm("2 3 1", "1 4 1")),
        _MATRIX,
        "/matrix",
        "entry 1 of the Matrix Market file has col 4",
    ),
    "Parquet: more rows than targets": (
        _uploaded(PARQUET, parquet(triples_with(row=[0, 0, 2]))),
        _MATRIX,
        "/matrix",
        "row[2] is 2; it must be from 0 to 1",
    ),
    "safetensors: 2e9 items": (
        _uploaded(SAFETENSORS, safetensors_saying({"x": {"dtype": "F64", "shape": [2], "data_offsets": [0, 2**34]}})),
        _REQUEST,
        "/matrix",
        "is described wrongly",
    ),
    "infinite target": (_npy("targets", npy([1.0, np.inf])), "nonfinite_input", "/targets/1", "targets[1] is inf"),
    "complex weights": (_npy("initial_weights", npy(np.ones(3, complex))), _REQUEST, "/initial_weights", "complex128"),
    "a column of targets": (_npy("targets", npy([[1.0], [2.0]])), _SHAPE, "/targets", "(2, 1); it needs (2,)"),
    "too few targets": (_inline(targets=[1.0]), _SHAPE, "/targets", "2 rows of the matrix"),
    "too many names": (_inline(target_names=["a", "b", "c"]), _SHAPE, "/target_names", "3 names; there are 2"),
    "an empty name": (_inline(target_names=["a", ""]), _REQUEST, "/target_names/1", "1 to 1000 characters"),
    "a negative weight": (
        _inline(initial_weights=[1.0, -2.0, 1.0]),
        _REQUEST,
        "/initial_weights/1",
        "initial_weights[1] is -2; it must be 0 or more",
    ),
    "all weights 0": (_inline(initial_weights=[0, 0, 0]), _REQUEST, "/initial_weights", "at least one unit"),
    "all held out": (_inline(holdout=[True, True]), _REQUEST, "/holdout", "at least one must stay"),
}


@pytest.fixture(scope="module")
def refusals(door: Door) -> dict[str, httpx.Response]:
    """The answers to all of them, sent with a good one at the end."""
    bodies = {name: problem_body(**make(door)) for name, (make, *_) in _BAD_CONTENT.items()}
    before = door.rows()
    replies = _in_parallel(door, bodies | {"good": problem_body()})
    assert replies["good"].status_code in (200, 201)
    assert door.rows()[0] == before[0]
    assert door.incoming == []
    return replies


@pytest.mark.parametrize("name", _BAD_CONTENT)
def test_content_that_is_no_problem_is_refused(refusals: dict[str, httpx.Response], name: str) -> None:
    _, code, pointer, words = _BAD_CONTENT[name]
    refused(refusals[name], 422, code, pointer=pointer, says=words)


def test_an_unknown_upload_is_not_found(door: Door) -> None:
    body = problem_body(matrix={"upload_id": "upl_nobody"})
    refused(_post(door, body), 404, "not_found", says="there is no upload 'upl_nobody'")


def test_changed_bytes_never_bring_the_service_down(door: Door) -> None:
    draw = np.random.default_rng(11)
    bodies = {}
    for number in range(8):
        flips = [(float(draw.random()), int(draw.integers(1, 256))) for _ in range(3)]
        sound, content_type = (csr_with(), NPZ) if number % 2 else (npy(TWO_BY_THREE), NPY)
        bodies[str(number)] = problem_body(matrix={"upload_id": door.upload(changed(sound, flips), content_type)})
    replies = _in_parallel(door, bodies, validate_only=True)
    assert {reply.status_code for reply in replies.values()} <= {200, 422}
    assert _post(door, problem_body()).status_code in (200, 201)


# --- limits on what one request may cost


@_ON_SQLITE
def test_the_limits_of_the_settings_are_held(settings: Settings) -> None:
    tight = settings.model_copy(update={"max_nonzeros": 3, "max_units": 3, "max_targets": 2, "max_body_bytes": 600})
    with called_here(tight) as door:
        assert _post(door, problem_body()).status_code == 201
        refused(_post(door, problem_body(matrix=_coo([2, 4], [], [], []))), 422, _MATRIX, says="the limit is 3")
        refused(_post(door, problem_body(targets=[0.5] * 200)), 413, "payload_too_large", says="600 bytes")


@_ON_SQLITE
def test_a_full_disk_is_507_and_no_fault_of_the_matrix(settings: Settings) -> None:
    with called_here(settings) as door:
        large = problem_body(matrix=_coo([1, 300_000], [0], [0], [1.0]), targets=[1.0])
        with no_file_above(2**20):
            reply = _post(door, large)
        refused(reply, 507, "storage_full")


def test_a_report_stays_short_however_many_targets_are_doubtful(door: Door) -> None:
    body = problem_body(matrix=_coo([20_000, 1], [], [], []), targets=[1] * 20_000)
    reply = _post(door, body, validate_only=True)
    assert reply.status_code == 200
    assert len(reply.content) < 2**20


# --- one problem


@_ON_SQLITE
def test_an_unused_problem_can_be_deleted_and_made_again(settings: Settings) -> None:
    with called_here(settings) as door:
        problem_id = door.problem()
        assert len(list((settings.storage / "problems").iterdir())) == 1
        assert door.http.delete(f"/v1/problems/{problem_id}").status_code == 204
        refused(door.http.get(f"/v1/problems/{problem_id}"), 404, "not_found")
        refused(door.http.delete(f"/v1/problems/{problem_id}"), 404, "not_found")
        assert list((settings.storage / "problems").iterdir()) == []
        assert door.problem() != problem_id


def test_a_problem_with_a_job_stays(door: Door) -> None:
    problem_id = door.problem(targets=other_targets())
    door.job(problem_id)
    refused(door.http.delete(f"/v1/problems/{problem_id}"), 409, "in_use", says="jobs refer to problem")
    assert door.http.get(f"/v1/problems/{problem_id}").status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("problem_id", ["prb_nobody", "prb_" + "0" * 500, "%2e%2e%2fl0.db"])
def test_an_unknown_problem_is_not_found(door: Door, method: str, problem_id: str) -> None:
    refused(door.http.request(method, f"/v1/problems/{problem_id}"), 404, "not_found")


def _somebody_waits(system: System) -> bool:
    """Say whether some connection of PostgreSQL waits for a lock that we hold."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with system.database.reading() as session:
        return bool(session.scalar(waiting))


@_ON_POSTGRESQL
def test_a_problem_that_gets_a_job_while_it_is_deleted_stays(inside: Door) -> None:
    problem_id = inside.listed_problem()
    with ThreadPoolExecutor(1) as pool:
        with inside.system.database.transaction() as session:
            lifecycle.submit(session, ANONYMOUS_TENANT, _request(problem_id), inside.system.dispatcher)
            reply = pool.submit(inside.http.delete, f"/v1/problems/{problem_id}")
            until(lambda: _somebody_waits(inside.system))
        refused(reply.result(), 409, "in_use")
    assert inside.http.get(f"/v1/problems/{problem_id}").status_code == 200


@_ON_POSTGRESQL
def test_a_job_on_a_problem_that_is_just_being_deleted_is_refused(inside: Door) -> None:
    problem_id = inside.listed_problem()
    with ThreadPoolExecutor(1) as pool:
        with inside.system.database.transaction() as session:
            stored = repository.problem_of(session, ANONYMOUS_TENANT, problem_id)
            session.delete(stored)
            session.flush()
            reply = pool.submit(inside.http.post, "/v1/jobs", json=job_body(problem_id))
            until(lambda: _somebody_waits(inside.system))
        refused(reply.result(), 404, "not_found")


def _request(problem_id: str) -> JobRequest:
    return JobRequest(kind="calibration", problem_id=problem_id, hyperparameters={}, seed=0, device="cpu")


# --- listed, and read


def test_problems_are_listed_newest_first_in_pages(inside: Door) -> None:
    made = [inside.listed_problem() for _ in range(5)]
    first = inside.http.get("/v1/problems", params={"limit": 3}).json()
    second = inside.http.get("/v1/problems", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [problem["id"] for problem in first["data"] + second["data"]] == made[::-1]
    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)
    assert inside.http.get("/v1/problems", params={"kind": "sampling"}).json()["data"] == []


def test_the_targets_of_a_problem_are_read_in_pages(door: Door) -> None:
    given = {"target_groups": [4, 4, 5], "target_scales": [1.0, 2.0, 3.0], "holdout": [False, True, False]}
    matrix = {"coo": {"shape": [3, 2], "row": [0, 1, 2], "col": [0, 1, 0], "data": [1.0, 2.0, 7.0]}}
    problem_id = door.problem(matrix=matrix, targets=[5.0, 6.0, 7.5], target_names=["a", "b", "c"], **given)
    url = f"/v1/problems/{problem_id}/targets"
    first = door.http.get(url, params={"limit": 2}).json()
    second = door.http.get(url, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    rows = first["data"] + second["data"]
    assert [(row["index"], row["name"], row["value"]) for row in rows] == [(0, "a", 5.0), (1, "b", 6.0), (2, "c", 7.5)]
    assert [(row["group"], row["scale"], row["holdout"]) for row in rows] == [
        (4, 1.0, False),
        (4, 2.0, True),
        (5, 3.0, False),
    ]
    assert {(row["weight"], row["tolerance"]) for row in rows} == {(1.0, None)}
    assert (first["has_more"], second["has_more"]) == (True, False)


@pytest.mark.parametrize("cursor", ["x", "LTE", "dHJ1ZQ", "OTIyMzM3MjAzNjg1NDc3NTgwNw"])
def test_a_cursor_into_the_targets_that_is_none_is_refused(door: Door, problem_id: str, cursor: str) -> None:
    reply = door.http.get(f"/v1/problems/{problem_id}/targets", params={"cursor": cursor})
    refused(reply, 422, "invalid_request", pointer="/cursor")


def test_names_may_be_uploaded(door: Door) -> None:
    names = [f"target {i} \u00e9" for i in range(5_000)]
    matrix = {"upload_id": door.upload(npz(sp.csr_array((np.ones(5_000), (np.arange(5_000), [0] * 5_000)))), NPZ)}
    targets = {"upload_id": door.upload(npy(np.ones(5_000)), NPY)}
    replies = [
        door.http.post(
            "/v1/problems", json=problem_body(matrix=matrix, targets=targets, target_names={"upload_id": sent})
        )
        for sent in (door.upload(npy(np.array(names)), NPY), door.upload(parquet({"name": names}), PARQUET))
    ]
    assert [reply.status_code for reply in replies] == [201, 200]
    rows = door.http.get(f"/v1/problems/{replies[0].json()['id']}/targets", params={"limit": 1}).json()["data"]
    assert rows[0]["name"] == names[0]
    refused(
        door.http.post("/v1/problems", json=problem_body(target_names=targets)), 422, "invalid_request", says="dtype U"
    )
