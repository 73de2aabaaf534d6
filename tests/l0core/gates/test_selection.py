"""`SampleGate` and `FeatureGate`: exactly the count asked for, of the right rows or columns."""

import copy
import inspect
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from l0core import FeatureGate, L0Gate, SampleGate
from l0core.errors import InvalidHyperparameter, InvalidInput, ShapeMismatch
from l0core.gates.selection import starting_mean

Array = NDArray[np.generic]
counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.sampled_from([1, n]) | st.integers(1, n)))
places = st.sampled_from([None, -1e4, -6.0, 0.0, 6.0, 1e4, "random"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Thousands of tiny draws: on a busy machine a second thread makes each a hundred times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def put(gate: L0Gate, place: object) -> None:
    """Put all gates at one place, or anywhere, or leave them at their start."""
    with torch.no_grad():
        if place == "random":
            gate.gates.log_alpha.copy_(1e4 * torch.randn(gate.size, generator=torch.Generator().manual_seed(1)))
        elif isinstance(place, float):
            gate.gates.log_alpha.fill_(place)


def samples(n: int, k: int, **settings_: Any) -> SampleGate:
    return SampleGate(n, k, generator=torch.Generator().manual_seed(1), **settings_)


def features(n: int, k: int, **settings_: Any) -> FeatureGate:
    return FeatureGate(n, k, generator=torch.Generator().manual_seed(1), **settings_)


def test_the_defaults_are_those_that_users_know() -> None:
    def defaults(kind: type) -> dict[str, object]:
        parameters = inspect.signature(kind).parameters
        return {name: p.default for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD}

    required = inspect.Parameter.empty
    assert defaults(SampleGate) == {"n_samples": required, "target_samples": required, "temperature": 0.25}
    assert defaults(FeatureGate) == {"n_features": required, "max_features": required, "temperature": 0.1}


def test_the_two_programs_of_the_manual_run() -> None:
    rows, indices = SampleGate(n_samples=10000, target_samples=1000).select_samples(torch.randn(10000, 3))
    assert (rows.shape, indices.shape) == ((1000, 3), (1000,))
    columns, indices = FeatureGate(n_features=1000, max_features=50).select_features(torch.randn(20, 1000))
    assert (columns.shape, indices.shape) == ((20, 50), (50,))


@settings(deadline=None, max_examples=150)
@given(sizes=counts, place=places, training=st.booleans(), dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_the_count_is_exact_whatever_the_gates_have_become(
    sizes: tuple[int, int], place: object, training: bool, dtype: torch.dtype
) -> None:
    n, k = sizes
    sample, feature = SampleGate(n, k), FeatureGate(n, k)
    for gate in (sample, feature):
        put(gate, place)
        gate.to(dtype).train(training)
    rows, by_row = sample.select_samples(torch.arange(n))
    columns, by_column = feature.select_features(torch.arange(2 * n).view(2, n))
    for indices in (by_row, by_column):
        assert indices.dtype == torch.int64
        assert indices.shape == (k,)
        assert bool((indices.diff() > 0).all())
        assert 0 <= indices[0] <= indices[-1] < n
    assert torch.equal(rows, by_row)
    assert torch.equal(columns, torch.stack([by_column, by_column + n]))


@pytest.mark.parametrize("shape", [(30,), (30, 2), (30, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.float16])
@pytest.mark.parametrize("training", [True, False])
def test_what_is_selected_are_the_rows_at_the_indices(
    shape: tuple[int, ...], dtype: torch.dtype, training: bool
) -> None:
    data = torch.randint(0, 9, shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    gate = samples(30, 7).train(training)
    selected, indices = gate.select_samples(data)
    assert selected.dtype == dtype
    assert torch.equal(selected, data[indices])
    array = data.numpy()
    from_array, indices = gate.select_samples(array)
    assert isinstance(from_array, np.ndarray)
    assert from_array.dtype == array.dtype
    np.testing.assert_array_equal(from_array, array[indices.numpy()])


@pytest.mark.parametrize("shape", [(4, 30), (4, 30, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_what_is_selected_are_the_columns_at_the_indices(shape: tuple[int, ...], training: bool) -> None:
    data = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    gate = features(30, 7).train(training)
    selected, indices = gate.select_features(data)
    assert torch.equal(selected, data[:, indices])
    from_array, indices = gate.select_features(data.numpy())
    np.testing.assert_array_equal(from_array, data.numpy()[:, indices.numpy()])


def test_arrays_of_words_and_sparse_tensors_are_data_too() -> None:
    words = np.array([f"row {i}" for i in range(10)])
    selected, indices = samples(10, 3).select_samples(words)
    assert selected.tolist() == [f"row {i}" for i in indices.tolist()]
    eye, indices = samples(10, 3).select_samples(torch.eye(10).to_sparse())
    assert torch.equal(eye.to_dense(), torch.eye(10)[indices])


def test_the_loss_reaches_the_data() -> None:
    data = torch.ones(10, 2, requires_grad=True)
    selected, indices = samples(10, 3).select_samples(data)
    torch.autograd.backward(selected.sum())
    assert data.grad is not None
    assert torch.equal(torch.nonzero(data.grad[:, 0]).flatten(), indices)


def test_in_eval_the_likeliest_are_chosen_every_time() -> None:
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    expected = order.argsort(descending=True)[:8].sort().values
    sample, feature = samples(50, 8).eval(), features(50, 8).eval()
    for gate in (sample, feature):
        with torch.no_grad():
            gate.gates.log_alpha.copy_(order.float() - 30)
    for _ in range(2):
        assert torch.equal(sample.select_samples(torch.zeros(50))[1], expected)
        assert torch.equal(feature.select_features(torch.zeros(1, 50))[1], expected)


def frequency(choose: Callable[[], Tensor], n: int, calls: int) -> Tensor:
    return torch.bincount(torch.cat([choose() for _ in range(calls)]), minlength=n).double() / calls


def test_in_training_likelier_gates_are_chosen_more_often() -> None:
    n, k, calls = 40, 10, 4000
    places_ = torch.linspace(-2, 2, n)
    sample, feature = samples(n, k), features(n, k)
    for gate in (sample, feature):
        with torch.no_grad():
            gate.gates.log_alpha.copy_(places_)
    for chosen in (
        frequency(lambda: sample.select_samples(torch.zeros(n))[1], n, calls),
        frequency(lambda: feature.select_features(torch.zeros(1, n))[1], n, calls),
    ):
        error = math.sqrt(0.25 / calls)
        assert chosen.sum().item() == pytest.approx(k)
        assert bool((chosen > 0).all())  # every gate has its chance
        assert bool((chosen[10:] > chosen[:-10] + 2 * error).all())
        assert bool((chosen.diff() > -6 * error).all())


def test_in_training_gates_that_are_alike_are_chosen_alike() -> None:
    n, k, calls = 30, 9, 4000
    gate = samples(n, k)
    put(gate, 0.0)
    chosen = frequency(lambda: gate.select_samples(torch.zeros(n))[1], n, calls)
    p = k / n
    assert (chosen - p).abs().max().item() < 5 * math.sqrt(p * (1 - p) / calls)


def test_a_gate_in_training_draws_anew_at_every_call() -> None:
    gate = samples(200, 50)
    assert not torch.equal(gate.select_samples(torch.zeros(200))[1], gate.select_samples(torch.zeros(200))[1])


@pytest.mark.parametrize(("n", "k"), [(100, 10), (100, 60), (5, 1), (1000, 999)])
def test_gates_start_at_the_share_that_is_asked_for(n: int, k: int) -> None:
    for gate in (samples(n, k), features(n, k)):
        assert torch.sigmoid(gate.gates.log_alpha).mean().item() == pytest.approx(k / n, abs=2e-3)


def test_where_all_are_asked_for_gates_start_nearly_open_and_finite() -> None:
    for n in (1, 2, 1000):
        assert starting_mean(n, n) == (n - 0.5) / n
        assert bool(torch.isfinite(samples(n, n).gates.log_alpha).all())
    assert starting_mean(3, 10) == 0.3


def test_in_training_weights_are_multiplied_by_the_gates_drawn() -> None:
    weights = torch.arange(1.0, 41.0)
    gate = samples(40, 25)
    put(gate, 30.0)  # drawn fully open, every one
    rows, chosen, indices = gate.select_weighted_samples(torch.arange(40), weights)
    assert torch.equal(rows, indices)
    assert torch.equal(chosen, weights[indices])
    put(gate, 0.0)
    _, chosen, indices = gate.select_weighted_samples(torch.arange(40), weights)
    share = (chosen / weights[indices]).detach()
    assert bool(((share >= 0) & (share <= 1)).all())
    assert len(set(share.tolist())) > 1
    put(gate, -30.0)
    assert not gate.select_weighted_samples(torch.arange(40), weights)[1].any()


def test_in_training_the_loss_reaches_the_locations_through_the_weights() -> None:
    gate, weights = samples(400, 200), torch.ones(400, requires_grad=True)
    put(gate, -0.5)
    _, chosen, indices = gate.select_weighted_samples(torch.zeros(400), weights)
    torch.autograd.backward(chosen.sum())
    slope = gate.gates.log_alpha.grad
    assert slope is not None
    assert weights.grad is not None
    touched = torch.nonzero(slope).flatten()
    assert touched.numel() > 20
    assert bool((slope[touched] > 0).all())
    assert bool(torch.isin(touched, indices).all())
    torch.testing.assert_close(weights.grad[indices], chosen.detach())


SHARES = torch.rand(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
AS_THEY_ARE = {
    "float64": SHARES,
    "float32": SHARES.float(),
    "float16": SHARES.half(),
    "whole numbers beyond float32": torch.arange(30) + 2**24 + 1,
    "negative": -SHARES,
}


@pytest.mark.parametrize("weights", AS_THEY_ARE)
@pytest.mark.parametrize("module", [torch.float32, torch.bfloat16])
def test_in_eval_the_weights_come_back_as_they_are(weights: str, module: torch.dtype) -> None:
    given_ = AS_THEY_ARE[weights]
    gate = samples(30, 10).to(module).eval()
    put(gate, -9.0)  # closed, and chosen all the same
    _, chosen, indices = gate.select_weighted_samples(torch.zeros(30), given_)
    assert chosen.dtype == given_.dtype
    assert torch.equal(chosen, given_[indices])


@pytest.mark.parametrize("training", [True, False])
def test_weights_may_be_an_array_or_a_list(training: bool) -> None:
    data = np.arange(6.0)
    for weights in (np.arange(6.0), list(range(6)), [float(i) for i in range(6)]):
        gate = samples(6, 4).train(training)
        put(gate, 30.0)
        rows, chosen, indices = gate.select_weighted_samples(data, weights)
        assert isinstance(rows, np.ndarray)
        assert chosen.tolist() == rows.tolist() == indices.tolist()


@pytest.mark.parametrize("shape", [(29,), (30, 1), (1, 30), ()])
def test_weights_that_are_not_one_a_sample_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch) as refusal:
        samples(30, 10).select_weighted_samples(torch.zeros(30), torch.ones(shape))
    assert str(refusal.value) == f"weights has shape {shape}; it must be (30,), one a sample"


@pytest.mark.parametrize("weights", ["heavy", None, ["a"] * 30, [[1.0], [1.0, 2.0]]])
def test_weights_that_are_no_numbers_are_refused(weights: object) -> None:
    with pytest.raises(InvalidInput, match="weights is "):
        samples(30, 10).select_weighted_samples(torch.zeros(30), weights)  # type: ignore[arg-type]  # the test


def test_the_importance_of_a_feature_is_its_probability() -> None:
    gate = features(20, 3)
    importance = gate.get_feature_importance()
    assert importance.shape == (20,)
    assert not importance.requires_grad
    torch.testing.assert_close(importance, gate.gates.get_active_prob().detach())
    with torch.no_grad():
        gate.gates.log_alpha[7] = 5.0
    assert gate.get_feature_importance().argmax().item() == 7


@pytest.mark.parametrize("names", [[f"f{i}" for i in range(20)], tuple(f"f{i}" for i in range(20))])
@pytest.mark.parametrize("training", [True, False])
def test_names_are_those_of_the_columns_selected(names: list[str], training: bool) -> None:
    data = torch.arange(20).repeat(2, 1)
    selected, chosen = features(20, 5).train(training).select_features_with_names(data, names)
    assert [f"f{i}" for i in selected[0].tolist()] == chosen
    assert len(chosen) == 5


def test_one_name_too_few_is_refused_with_both_numbers() -> None:
    with pytest.raises(ShapeMismatch, match="feature_names has 19 names; there are 20 features"):
        features(20, 5).select_features_with_names(torch.zeros(2, 20), ["f"] * 19)


@pytest.mark.parametrize("shape", [(29,), (31, 2), (2, 30), ()])
def test_data_with_another_number_of_rows_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    for data in (torch.zeros(shape), np.zeros(shape)):
        with pytest.raises(ShapeMismatch) as refusal:
            samples(30, 10).select_samples(data)  # type: ignore[type-var]  # either of the two
        assert str(refusal.value) == f"data has shape {shape}; its axis 0 must be 30 long, one entry a gate"
        assert refusal.value.pointer == "/data"


@pytest.mark.parametrize("shape", [(30,), (2, 29), (30, 2), ()])
def test_data_with_another_number_of_columns_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch) as refusal:
        features(30, 10).select_features(torch.zeros(shape))
    assert str(refusal.value) == f"data has shape {shape}; its axis 1 must be 30 long, one entry a gate"


@pytest.mark.parametrize("data", [[1.0] * 30, "x" * 30, None, 3.0, sp.csr_array(np.eye(30))])
def test_what_is_neither_tensor_nor_array_is_refused_by_its_type(data: Any) -> None:
    words = f"data is a {type(data).__name__}; it must be a torch tensor or a numpy array"
    for choose in (
        samples(30, 10).select_samples,
        features(30, 10).select_features,
        lambda rows: samples(30, 10).select_weighted_samples(rows, torch.ones(30)),
        lambda rows: features(30, 10).select_features_with_names(rows, ["f"] * 30),
    ):
        with pytest.raises(InvalidInput, match=words):
            choose(data)


WRONG: list[tuple[type[L0Gate], dict[str, object], str]] = [
    (SampleGate, {"n_samples": 10, "target_samples": 0}, "target_samples is 0; it must be a whole number at least 1"),
    (SampleGate, {"n_samples": 10, "target_samples": 11}, "target_samples is 11; it must be at most n_samples, which"),
    (SampleGate, {"n_samples": 10, "target_samples": 2.5}, "target_samples is 2.5; it must be a whole number"),
    (SampleGate, {"n_samples": 0, "target_samples": 1}, "n_samples is 0; it must be a whole number at least 1"),
    (SampleGate, {"n_samples": 10, "target_samples": 3, "temperature": 0}, "temperature is 0; it must be a number"),
    (FeatureGate, {"n_features": 10, "max_features": 0}, "max_features is 0; it must be a whole number at least 1"),
    (FeatureGate, {"n_features": 10, "max_features": 11}, "max_features is 11; it must be at most n_features, which"),
    (FeatureGate, {"n_features": True, "max_features": 1}, "n_features is True; it must be a whole number"),
    (FeatureGate, {"n_features": 10, "max_features": 3, "temperature": -1}, "temperature is -1; it must be a number"),
    (FeatureGate, {"n_features": 10, "max_features": 3, "generator": 4}, "generator is 4; it must be a torch.Gen"),
]


@pytest.mark.parametrize(("kind", "arguments", "words"), WRONG)
def test_a_wrong_argument_is_refused_with_its_name_and_its_value(
    kind: type[Any], arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidHyperparameter) as refusal:
        kind(**arguments)
    assert str(refusal.value).startswith(words)


@pytest.mark.parametrize("kind", [SampleGate, FeatureGate])
def test_a_copy_chooses_otherwise_and_a_pickled_gate_alike(kind: type[Any]) -> None:
    gate = kind(400, 100)
    copied, pickled = copy.deepcopy(gate), pickle.loads(pickle.dumps(gate))

    def chosen(of: Any) -> list[int]:
        data = torch.zeros(400, 400)
        indices: list[int] = (of.select_samples if kind is SampleGate else of.select_features)(data)[1].tolist()
        return indices

    expected = chosen(gate)
    assert chosen(copied) != expected
    assert chosen(pickled) == expected


def test_the_fields_say_what_was_asked_for() -> None:
    sample, feature = samples(10, 3), features(20, 4)
    assert (sample.n_samples, sample.target_samples, sample.temperature, sample.size) == (10, 3, 0.25, 10)
    assert (feature.n_features, feature.max_features, feature.temperature, feature.size) == (20, 4, 0.1, 20)
