"""A pruning problem: what is refused, what is found doubtful, and that its address is that of its numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from pydantic import ValidationError

from l0core.errors import InvalidInput
from l0core.pruning.inputs import PruningInputs
from l0core.pruning.problem import PruningProblem
from tests.l0core.pruning.networks import mlp, random_weights, rows, two_classes

ROWS, CLASSES = [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0], [0.0, 1.0], [2.0, 2.0]], [0, 1, 1, 0, 1]


def build(**changed: Any) -> PruningProblem:
    given: dict[str, Any] = {"task": "classification", "network": mlp(3, 2), "features": ROWS, "outcome": CLASSES}
    return PruningProblem.build(**(given | changed))


def weights(**changed: Any) -> dict[str, Any]:
    return {name: array for name, array in (random_weights(build().plan, 0) | changed).items() if array is not None}


@pytest.mark.parametrize(
    ("changed", "says", "pointer"),
    [
        ({"features": [[1.0, 2.0], [3.0]]}, "cannot be read as an array", "/features"),
        ({"features": [1.0, 2.0]}, "needs rows and columns", "/features"),
        ({"features": [[1.0, float("inf")]] * 5}, r"features\[0, 1\] is inf", "/features/0/1"),
        ({"features": [[1.0, 1e16]] * 5}, "up to 1e\\+15", "/features/0/1"),
        ({"features": [["a", "b"]] * 5}, "it needs numbers", "/features"),
        ({"features": ROWS[:1], "outcome": [0]}, "needs 2 at least", "/features"),
        ({"outcome": [0, 1]}, "one number for each of the 5 rows", "/outcome"),
        ({"outcome": [0, 1, 2, 0, 1]}, r"outcome\[2\] is 2; it must be a class id.*from 0 to 1", "/outcome/2"),
        ({"outcome": [0, 1, 0.5, 0, 1]}, "must be a class id", "/outcome/2"),
        ({"outcome": [0, 1, -1, 0, 1]}, "must be a class id", "/outcome/2"),
        ({"outcome": [0, 1, float("nan"), 0, 1]}, "must be finite", "/outcome/2"),
        ({"outcome": [True] * 5}, "it needs numbers", "/outcome"),
        ({"task": "ranking"}, "must be one of classification, regression", "/task"),
        ({"task": "regression"}, "the last layer of a regression has 1", "/network/layers/2/units"),
        ({"network": mlp(3, 1), "outcome": [0] * 5}, "a classification has 2 or more", "/network/layers/2/units"),
        ({"network": {"layers": [{"type": "tanh"}]}}, "a layer's type is one of linear", "/network/layers/0"),
        ({"network": mlp(3, 2) | {"depth": 2}}, "Extra inputs", "/network/depth"),
        ({"holdout_fraction": 1.0}, "below 1", "/holdout_fraction"),
        ({"holdout_fraction": -0.1}, "0 or more", "/holdout_fraction"),
        ({"holdout_fraction": float("nan")}, "0 or more", "/holdout_fraction"),
        ({"holdout_fraction": True}, "0 or more", "/holdout_fraction"),
        ({"holdout_fraction": 0.05}, "holds out 0 and leaves 5", "/holdout_fraction"),
        ({"holdout_fraction": 0.9}, "holds out 4 and leaves 1", "/holdout_fraction"),
        ({"starting_weights": {}}, "has no layers.0.weight", "/starting_weights"),
        ({"starting_weights": weights(**{"layers.2.bias": None})}, "has no layers.2.bias", "/starting_weights"),
        ({"starting_weights": weights(**{"layers.1.bias": [1.0]})}, "which the network has not", "/starting_weights"),
        ({"starting_weights": weights(**{"layers.0.bias": [1.0]})}, r"the network needs \(3,\)", "/starting_weights"),
        ({"starting_weights": weights(**{"layers.0.bias": [1.0, 2.0, np.nan]})}, "cannot hold", "/starting_weights"),
        ({"starting_weights": weights(**{"layers.0.bias": [1.0, 2.0, 1e39]})}, "cannot hold", "/starting_weights"),
        ({"starting_weights": weights(**{"layers.0.bias": ["a", "b", "c"]})}, "needs float32", "/starting_weights"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(changed: dict[str, Any], says: str, pointer: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        build(**changed)
    assert refused.value.pointer == pointer


def test_a_sparse_matrix_too_large_when_filled_is_refused_before_it_is() -> None:
    with pytest.raises(InvalidInput, match="is the limit"):
        build(features=sp.coo_array(([1.0], ([0], [0])), shape=(2**20, 2**20)))


def test_the_same_numbers_have_the_same_address_in_any_form(tmp_path: Path) -> None:
    problem = build(starting_weights=weights())
    problem.save(tmp_path / "problem")
    forms = [np.array(ROWS, dtype=np.float32), sp.csr_array(ROWS), np.asfortranarray(ROWS)]
    others = [build(features=form, starting_weights=weights()) for form in forms]
    assert {each.sha256 for each in [problem, PruningProblem.load(tmp_path / "problem"), *others]} == {problem.sha256}


@pytest.mark.parametrize(
    "changed",
    [
        {"features": np.array(ROWS) + 1},
        {"outcome": [1, 1, 1, 0, 1]},
        {"network": mlp(4, 2)},
        {"holdout_fraction": 0.4},
        {"starting_weights": weights()},
    ],
)
def test_other_content_has_another_address(changed: dict[str, Any]) -> None:
    assert build(**changed).sha256 != build().sha256


def test_a_loaded_problem_is_the_one_that_was_saved(tmp_path: Path) -> None:
    problem = build(starting_weights=weights())
    problem.save(tmp_path / "problem")
    loaded = PruningProblem.load(tmp_path / "problem")
    assert (loaded.plan, loaded.task, loaded.sizes) == (problem.plan, problem.task, problem.sizes)
    assert loaded.starting_weights.keys() == problem.starting_weights.keys()


def test_doubtful_problems_are_taken_and_told() -> None:
    codes = [f.code for f in build(features=np.array(ROWS) * 1000, outcome=[0] * 5).findings]
    assert codes == ["class_without_rows", "constant_outcome", "unscaled_features"]
    assert two_classes().findings == []


def test_a_body_over_the_wire_is_checked_by_form() -> None:
    body = {"features": ROWS, "outcome": CLASSES, "task": "classification", "network": mlp(3, 2)}
    taken = PruningInputs.model_validate_json(json.dumps(body))
    built = PruningProblem.build(**{name: getattr(taken, name) for name in PruningInputs.model_fields})
    assert built.sha256 == build().sha256
    faults: list[dict[str, Any]] = [
        {"features": [[1, "2"]]},
        {"features": {"csr": {}}},
        {"task": "both"},
        {"holdout_fraction": 1},
        {"starting_weights": {"layers.0.bias": [1]}},
        {"name": "x"},
        {"network": {"layers": []}},
    ]
    for wrong in faults:
        with pytest.raises(ValidationError):
            PruningInputs.model_validate_json(json.dumps(body | wrong))


def test_rows_by_upload_are_taken() -> None:
    assert rows(3).shape == (3, 6)
    body = {"features": {"upload_id": "upl_1"}, "outcome": {"upload_id": "upl_2"}, "task": "regression"}
    taken = PruningInputs.model_validate_json(
        json.dumps(body | {"network": mlp(1), "starting_weights": {"upload_id": "upl_3"}})
    )
    assert type(taken.features).__name__ == "RowsUpload"
    assert type(taken.starting_weights).__name__ == "TensorsUpload"
