"""Problems of pruning over HTTP: rows, outcomes, networks and starting weights in every form, and refusals."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from service.problems.content_types import NPY, PARQUET, SAFETENSORS
from tests.service.api.door import Door

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0], [0.0, 1.0], [2.0, 2.5]]
NETWORK = {"layers": [{"type": "linear", "units": 3}, {"type": "relu"}, {"type": "linear", "units": 2}]}
BODY: dict[str, Any] = {
    "kind": "pruning",
    "features": ROWS,
    "outcome": [0, 1, 1, 0, 1],
    "task": "classification",
    "network": NETWORK,
}
WEIGHTS = {
    "layers.0.weight": np.ones((3, 2), dtype=np.float32),
    "layers.0.bias": np.zeros(3, dtype=np.float32),
    "layers.2.weight": np.ones((2, 3), dtype=np.float32),
    "layers.2.bias": np.zeros(2, dtype=np.float32),
}


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


def post(door: Door, **changed: Any) -> httpx.Response:
    return door.http.post("/v1/problems", json=BODY | changed)


def test_a_problem_is_created_with_the_sizes_of_its_kind(inside: Door) -> None:
    reply = post(inside)
    assert reply.status_code == 201, reply.text
    view = reply.json()
    assert (view["kind"], view["n_rows"], view["n_features"], view["n_outputs"]) == ("pruning", 5, 2, 2)
    assert view["n_parameters"] == 3 * 3 + 2 * 4


def test_what_is_doubtful_is_told_with_the_problem(inside: Door) -> None:
    reply = post(inside, network={"layers": [{"type": "linear", "units": 3}]})
    assert reply.status_code == 201, reply.text
    assert reply.json()["findings"][0]["code"] == "class_without_rows"


def test_uploaded_arrays_make_the_same_problem(inside: Door) -> None:
    features = {"upload_id": inside.upload(npy(ROWS), NPY)}
    outcome = {"upload_id": inside.upload(npy([0, 1, 1, 0, 1]), NPY)}
    assert post(inside, features=features, outcome=outcome).json()["id"] == post(inside).json()["id"]


def test_starting_weights_come_as_named_tensors(inside: Door) -> None:
    given = {"upload_id": inside.upload(save(WEIGHTS), SAFETENSORS)}
    reply = post(inside, starting_weights=given)
    assert reply.status_code == 201, reply.text
    assert reply.json()["id"] != post(inside).json()["id"]


@pytest.mark.parametrize(
    ("data", "content_type", "says"),
    [
        (save({"layers.0.bias": np.zeros(3, dtype=np.float32)}), SAFETENSORS, "has no layers.0.weight"),
        (save(WEIGHTS | {"layers.0.bias": np.zeros(4, dtype=np.float32)}), SAFETENSORS, "has shape (4,)"),
        (npy([1.0]), NPY, "names no tensors; send"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{}      12", SAFETENSORS, "do not fill"),
    ],
)
def test_starting_weights_that_do_not_fit_are_refused(inside: Door, data: bytes, content_type: str, says: str) -> None:
    reply = post(inside, starting_weights={"upload_id": inside.upload(data, content_type)})
    assert reply.status_code == 422, reply.text
    assert says in reply.text
    assert reply.json()["errors"][0]["pointer"].startswith("/starting_weights")


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"features": [[1.0], [1.0, 2.0]]}, "/features"),
        ({"features": [[1.0, "2"]]}, "/features/0/1"),
        ({"features": []}, "/features"),
        ({"outcome": [0, 1]}, "/outcome"),
        ({"outcome": [0, 1, 2, 0, 1]}, "/outcome/2"),
        ({"task": "ranking"}, "/task"),
        ({"network": {"layers": []}}, "/network/layers"),
        ({"network": {"layers": [{"type": "linear", "units": 0}]}}, "/network/layers/0/units"),
        ({"network": {"layers": [{"type": "tanh"}]}}, "/network/layers/0"),
        ({"holdout_fraction": 2}, "/holdout_fraction"),
        ({"matrix": 1}, "/matrix"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_pointer(inside: Door, changed: dict[str, Any], pointer: str) -> None:
    reply = post(inside, **changed)
    assert reply.status_code == 422, reply.text
    assert reply.json()["errors"][0]["pointer"].endswith(pointer)


def test_parquet_holds_rows_as_a_matrix(inside: Door) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    values = np.array(ROWS)
    row, column = np.nonzero(values)
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"row": row, "col": column, "value": values[row, column]}), file)
    features = {"upload_id": inside.upload(file.getvalue(), PARQUET)}
    reply = post(inside, features=features)
    assert reply.status_code in (200, 201), reply.text
    assert reply.json()["id"] == post(inside).json()["id"]
