"""The faults of l0-python 0.6.2, each a test that passes here.

Every test takes the library it tests: `l0core`, but in `benchmarks/faults_of_l0_python.py`, which names another in
FAULTS_LIBRARY to show the same rows failing there. Rows of the calibration job (zero design weights, Adam's floor, the
meaning of lambda) are tested where the job is.
"""

import copy
import inspect
import os
import pickle
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import nn

N, Q = 60, 5


@pytest.fixture
def library() -> ModuleType:
    return import_module(os.environ.get("FAULTS_LIBRARY", "l0core"))


def problem(seed: int = 1) -> tuple[sp.csr_matrix, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    matrix = sp.csr_matrix(sp.random_array((Q, N), density=0.4, rng=rng))
    return matrix, np.asarray(matrix @ rng.uniform(20, 80, N))


def model(library: ModuleType, **settings: Any) -> Any:
    return library.SparseCalibrationWeights(N, **({"beta": 0.35, "init_weights": 50.0, "seed": 3} | settings))


def fitted(library: ModuleType, *, epochs: tuple[int, ...] = (60,), **settings: Any) -> Any:
    """Fit one model in as many calls as there are numbers of epochs, from the same global seed."""
    torch.manual_seed(0)
    weights = model(library)
    matrix, targets = problem()
    for n in epochs:
        weights.fit(matrix, targets, lambda_l0=1e-3, lr=0.05, epochs=n, loss_type="relative", **settings)
    return weights


def parameters(weights: Any) -> torch.Tensor:
    return torch.stack([weights.log_weight.detach(), weights.log_alpha.detach()]).clone()


def refuses(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as refusal:  # the words are looked for below
        call()
    assert [word for word in words if word not in str(refusal.value)] == []


def test_a_prediction_is_that_of_the_matrix_it_is_given(library: ModuleType) -> None:
    matrix, _ = problem()
    weights = fitted(library)
    once, tenfold = weights.predict(matrix), weights.predict(10 * matrix)
    torch.testing.assert_close(tenfold, 10 * once, rtol=1e-5, atol=0)


def test_a_refit_on_another_matrix_of_the_same_size_fits_that_matrix(library: ModuleType) -> None:
    matrix, targets = problem()
    other = matrix.copy()
    other.data = other.data[::-1].copy() * 4
    weights = fitted(library)
    weights.fit(other, targets, lambda_l0=1e-3, lr=0.05, epochs=600, loss_type="relative")
    kept = weights.get_weights(deterministic=True).detach().numpy().astype(np.float64)
    assert np.abs((other @ kept) / targets - 1).mean() < 0.1


def test_an_unknown_loss_is_refused_and_the_known_ones_are_named(library: ModuleType) -> None:
    matrix, targets = problem()
    refuses(lambda: model(library).fit(matrix, targets, epochs=1, loss_type="huber"), "huber", "mse", "relative")


@pytest.mark.parametrize("chunks", [(30, 30), (6,) * 10])
def test_training_in_chunks_is_training_in_one_go(library: ModuleType, chunks: tuple[int, ...]) -> None:
    whole, parts = fitted(library), fitted(library, epochs=chunks)
    assert torch.equal(parameters(whole), parameters(parts))


def test_showing_progress_changes_no_number(library: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    silent, shown = fitted(library), fitted(library, verbose=True, verbose_freq=7)
    assert torch.equal(parameters(silent), parameters(shown))
    assert capsys.readouterr().out == ""


def test_a_model_that_was_saved_half_way_goes_on_as_if_it_had_not_been(library: ModuleType) -> None:
    matrix, targets = problem()
    saved = pickle.loads(pickle.dumps(fitted(library, epochs=(30,))))  # our own bytes
    saved.fit(matrix, targets, lambda_l0=1e-3, lr=0.05, epochs=30, loss_type="relative")
    assert torch.equal(parameters(saved), parameters(fitted(library)))


def test_a_relative_target_of_minus_one_is_refused_by_its_index(library: ModuleType) -> None:
    matrix, targets = problem()
    targets[2] = -1
    refuses(lambda: model(library).fit(matrix, targets, epochs=1, loss_type="relative"), "y[2]", "-1")


Targets = NDArray[np.float64]
BAD_TARGETS: dict[str, tuple[Callable[[Targets], Targets], tuple[str, ...]]] = {
    "NaN": (lambda y: np.where(np.arange(Q) == 3, np.nan, y), ("y[3]", "nan")),
    "a column": (lambda y: y[:, None], ("y", "(5, 1)")),
    "one number": (lambda y: y[:1], ("y", "(1,)")),
}


@pytest.mark.parametrize("bad", BAD_TARGETS)
def test_targets_that_are_no_row_of_numbers_are_refused(library: ModuleType, bad: str) -> None:
    matrix, targets = problem()
    spoil, words = BAD_TARGETS[bad]
    refuses(lambda: model(library).fit(matrix, spoil(targets), epochs=1), *words)


def test_negative_weights_are_refused_with_the_first_index(library: ModuleType) -> None:
    refuses(lambda: model(library, init_weights=np.where(np.arange(N) > 6, -2.0, 1.0)), "init_weights[7]", "-2")


def test_negative_multipliers_are_refused_with_their_group(library: ModuleType) -> None:
    matrix, targets = problem()
    grouped = {"target_groups": np.array([0, 0, 1, 1, 1]), "group_multipliers": {1: -3.0}}
    refuses(lambda: model(library).fit(matrix, targets, epochs=1, **grouped), "group_multipliers[1]", "-3")


def test_fractional_group_numbers_are_refused_with_the_first_index(library: ModuleType) -> None:
    matrix, targets = problem()
    groups = np.array([0, 1, 1.5, 2, 2])
    refuses(lambda: model(library).fit(matrix, targets, epochs=1, target_groups=groups), "target_groups[2]", "1.5")


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_keep_probability_of_zero_or_one_is_refused(library: ModuleType, probability: float) -> None:
    refuses(lambda: model(library, init_keep_prob=probability), "init_keep_prob")
    one_bad = np.where(np.arange(N) == 4, probability, 0.5)
    refuses(lambda: model(library, init_keep_prob=one_bad), "init_keep_prob[4]")


def test_the_seed_decides_every_number_whatever_the_global_generator_does(library: ModuleType) -> None:
    matrix, targets = problem()
    found = []
    for elsewhere in (1, 2):
        torch.manual_seed(elsewhere)
        found.append(parameters(model(library).fit(matrix, targets, lr=0.05, epochs=30, loss_type="relative")))
    assert torch.equal(*found)


def test_nothing_touches_the_global_generators(library: ModuleType) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state(), copy.deepcopy(np.random.get_state())  # the one that must not move
    matrix, targets = problem()
    model(library).fit(matrix, targets, epochs=3)
    library.SparseL0Linear(N).fit(matrix, targets, epochs=3)
    library.HybridGate(50).select(torch.zeros(50, 1), random_seed=7)
    library.SampleGate(50, 10).select_samples(torch.zeros(50, 1))
    library.FeatureGate(50, 10).select_features(torch.zeros(2, 50))
    library.prune_model(nn.Sequential(library.L0Conv2d(2, 3, 3), library.L0Conv2d(3, 2, 3)))(torch.zeros(1, 2, 8, 8))
    library.SparseMLP(4, 3, 2)(torch.zeros(2, 4))
    after = torch.get_rng_state(), np.random.get_state()
    assert torch.equal(before[0], after[0])
    assert all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))


def test_no_two_gates_share_noise(library: ModuleType) -> None:
    def drawn() -> torch.Tensor:
        torch.manual_seed(0)
        gate: torch.Tensor = library.L0Gate(100).get_gates()
        return gate

    assert not torch.equal(drawn(), drawn())


def test_the_l2_penalty_is_that_of_the_weights_and_not_of_the_gates(library: ModuleType) -> None:
    layer = library.L0Linear(6, 4, bias=False, init_sparsity=0.01)
    gated = library.compute_l2_penalty(nn.Sequential(layer))
    torch.testing.assert_close(gated, layer.weight.square().sum())


@pytest.mark.parametrize("name", ["HardConcrete", "L0Gate", "HybridGate"])
def test_the_penalty_helpers_see_gates_that_stand_alone(library: ModuleType, name: str) -> None:
    gate = getattr(library, name)(50)
    assert library.compute_l0_penalty(nn.Sequential(gate)).item() == pytest.approx(gate.get_penalty().item())
    assert library.compute_l0_penalty(nn.Sequential(gate)).item() > 0


def test_a_depthwise_layer_can_be_pruned(library: ModuleType) -> None:
    layer = library.L0DepthwiseConv2d(3, 3, init_sparsity=0.99)
    library.prune_model(nn.Sequential(layer), threshold=0.5)
    assert not bool(layer.eval()(torch.ones(1, 3, 5, 5)).any())


def test_pruning_a_channel_takes_its_bias(library: ModuleType) -> None:
    layer = library.L0Conv2d(2, 3, 3, structured=True, init_sparsity=0.99)
    with torch.no_grad():
        layer.bias.fill_(1.0)
    library.prune_model(nn.Sequential(layer), threshold=0.5)
    assert layer.bias.tolist() == [0.0] * 3


def test_sparsity_has_one_meaning(library: ModuleType) -> None:
    """The share of parameters whose gate is 0 at test time, for one gate and another."""
    gates = library.HardConcrete(200, init_mean=0.3, temperature=2 / 3).eval()
    layer = library.L0Linear(20, 10, init_sparsity=0.7, temperature=2 / 3).eval()
    closed = (layer(torch.eye(20)) == layer.bias).double().mean().item()
    stats = library.get_sparsity_stats(nn.Sequential(layer))["0"]
    assert gates.get_sparsity() == pytest.approx((gates() == 0).double().mean().item())
    assert layer.get_sparsity() == pytest.approx(closed)
    assert stats["sparsity"] == pytest.approx(closed)
    assert stats["active_params"] == pytest.approx((1 - closed) * 200)


@pytest.mark.parametrize(("n", "target"), [(1000, 100), (1000, 600), (10, 10), (10, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_a_sample_gate_gives_exactly_the_count_asked_for(
    library: ModuleType, n: int, target: int, training: bool
) -> None:
    gate = library.SampleGate(n, target).train(training)
    selected, indices = gate.select_samples(torch.arange(float(n)))
    assert selected.tolist() == indices.tolist()
    assert len(set(indices.tolist())) == target


@pytest.mark.parametrize("form", ["csr_array", "coo_array", "csc_matrix", "dense", "torch"])
def test_any_sparse_or_dense_matrix_is_taken(library: ModuleType, form: str) -> None:
    matrix, targets = problem()
    forms: dict[str, Callable[[], Any]] = {
        "csr_array": lambda: sp.csr_array(matrix),
        "coo_array": lambda: sp.coo_array(matrix),
        "csc_matrix": lambda: sp.csc_matrix(matrix),
        "dense": matrix.toarray,
        "torch": lambda: torch.as_tensor(matrix.toarray()),
    }
    weights = model(library).fit(forms[form](), targets, epochs=2)
    torch.testing.assert_close(weights.predict(forms[form]()), weights.predict(matrix))
    rows = library.SparseL0Linear(N).fit(forms[form](), targets, epochs=2)
    torch.testing.assert_close(rows.predict(forms[form]()), rows.predict(matrix))


def test_a_temperature_schedule_reaches_calibration_weights(library: ModuleType) -> None:
    weights = model(library)
    library.update_temperatures(nn.Sequential(weights), 0.2)
    assert weights.beta == 0.2


def test_an_impossible_temperature_is_refused(library: ModuleType) -> None:
    refuses(lambda: library.HardConcrete(5, temperature=0), "temperature", "0")


def test_an_unknown_schedule_is_refused_when_it_is_made(library: ModuleType) -> None:
    refuses(
        lambda: library.TemperatureScheduler(schedule="step"), "schedule", "step", "exponential", "linear", "cosine"
    )


def test_weights_without_gates_pay_no_price_for_them(library: ModuleType) -> None:
    matrix, targets = problem()
    weights = model(library, use_gates=False)
    before = weights.log_alpha.detach().clone()
    weights.fit(matrix, targets, lambda_l0=1.0, epochs=5)
    assert torch.equal(before, weights.log_alpha.detach())


def test_series_of_different_lengths_are_saved(library: ModuleType, tmp_path: Any) -> None:
    tracker = library.PenaltyTracker()
    for name, value in (("a", 1.0), ("a", 2.0), ("b", 3.0)):
        tracker.log(name, value)
    tracker.save_to_csv(str(tmp_path / "series.csv"))
    assert (tmp_path / "series.csv").read_text(encoding="utf-8").split() == ["a,b", "1.0,3.0", "2.0,"]


def test_every_gate_and_layer_takes_a_generator(library: ModuleType) -> None:
    made = (
        "HardConcrete", "L0Linear", "L0Conv2d", "L0DepthwiseConv2d", "SparseMLP", "L0Gate", "SampleGate",
        "FeatureGate", "HybridGate", "SparseCalibrationWeights", "SparseL0Linear",
    )  # fmt: skip
    without = [name for name in made if "generator" not in inspect.signature(getattr(library, name)).parameters]
    assert without == []
