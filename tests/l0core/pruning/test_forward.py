"""Three ways to run a network give the same outputs: numpy, torch, and ONNX."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from l0core.errors import InvalidInput, NonfiniteInput, ShapeMismatch
from l0core.matrices import parts
from l0core.pruning import forward as forward_module
from l0core.pruning.forward import answer, forward
from l0core.pruning.model import Model
from l0core.pruning.modules import plain_network
from l0core.pruning.network import Network, Plan
from l0core.pruning.onnx_model import Runtime, onnx_bytes
from tests.l0core.pruning.networks import mlp, plans, random_weights, rows


@settings(max_examples=60, deadline=None)
@given(plan=plans(), seed=st.integers(0, 2**32 - 1), n=st.integers(1, 5))
def test_numpy_torch_and_onnx_agree(plan: Plan, seed: int, n: int) -> None:
    weights = random_weights(plan, seed)
    columns = int(np.prod(plan.places[0].inputs))
    x = np.random.default_rng(seed).normal(size=(n, columns)).astype(np.float32)
    ours = forward(plan, weights, x)
    network = plain_network(plan, {name: torch.from_numpy(array) for name, array in weights.items()})
    with torch.no_grad():
        theirs = network(torch.from_numpy(x).reshape(-1, *plan.places[0].inputs)).numpy()
    runtime = Runtime(onnx_bytes(Model(plan=plan, weights=weights, task="regression")))
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(ours, runtime(x), atol=1e-5, rtol=1e-5)


def test_rows_taken_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan.of(Network.model_validate(mlp(16, 3)), 6)
    weights, x = random_weights(plan, 1), rows(50).astype(np.float32)
    whole = forward(plan, weights, x)
    monkeypatch.setattr(forward_module, "_NUMBERS_AT_ONCE", 100)
    np.testing.assert_allclose(forward(plan, weights, x), whole, rtol=1e-6)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    plan = Plan.of(Network.model_validate(mlp(5, 3)), 6)
    model = Model(plan=plan, weights=random_weights(plan, 2), task="classification")
    return written(model, tmp_path)


def written(model: Model, folder: Path) -> dict[str, Path]:
    save_file(dict(model.weights), folder / "model.safetensors")
    (folder / "architecture.json").write_text(json.dumps(model.architecture))
    return {name: folder / name for name in ("model.safetensors", "architecture.json")}


def test_an_answer_has_a_row_of_scores_and_a_class_for_each_row(files: dict[str, Path]) -> None:
    said = answer({"features": rows(4)}, files)
    assert np.shape(said["values"]) == (4, 3)
    assert said["classes"] == np.argmax(said["values"], 1).tolist()


def test_rows_may_come_in_any_form(files: dict[str, Path]) -> None:
    x = np.round(rows(4))
    for form in (x.tolist(), sp.csr_array(x), parts(sp.coo_array(x)), x.astype(np.float32)):
        assert answer({"features": form}, files) == answer({"features": x}, files)


def test_a_regression_answers_a_number_for_each_row(tmp_path: Path) -> None:
    plan = Plan.of(Network.model_validate(mlp(1)), 6)
    model = Model(plan=plan, weights=random_weights(plan, 3), task="regression")
    said = answer({"features": rows(4)}, written(model, tmp_path))
    assert said.keys() == {"values"}
    assert np.shape(said["values"]) == (4,)


@pytest.mark.parametrize(
    ("features", "error", "says"),
    [
        (rows(3, 5), ShapeMismatch, "has 5 columns; the network was made for 6"),
        ([[1.0] * 6, [1.0] * 5], InvalidInput, "cannot be read as an array"),
        ([], InvalidInput, "rows and columns"),
        ([1.0] * 6, InvalidInput, "rows and columns"),
        ([[1.0] * 5 + [float("nan")]], NonfiniteInput, r"features\[0, 5\] is nan"),
        ([[1e16] * 6], InvalidInput, "up to 1e\\+15 in size"),
        ([["a"] * 6], InvalidInput, "needs numbers"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    features: Any, error: type[Exception], says: str, files: dict[str, Path]
) -> None:
    with pytest.raises(error, match=says) as refused:
        answer({"features": features}, files)
    assert isinstance(refused.value, InvalidInput)
    assert refused.value.pointer.startswith("/features")


def test_an_output_beyond_float32_is_refused_and_no_number(tmp_path: Path) -> None:
    plan = Plan.of(Network.model_validate(mlp(2, 1)), 1)
    weights = {name: np.full_like(w, 1e30) for name, w in random_weights(plan, 3).items()}
    files = written(Model(plan=plan, weights=weights, task="regression"), tmp_path)
    with pytest.raises(NonfiniteInput, match="row 0 is beyond the largest float32"):
        answer({"features": [[1e10]]}, files)
