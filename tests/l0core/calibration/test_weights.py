"""`SparseCalibrationWeights`: its interface, the objective it says it minimises, and what it refuses."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0core import SparseCalibrationWeights, prune_model
from l0core.errors import InvalidHyperparameter, InvalidInput, L0Error
from l0core.noise import epoch_key, logistic_by_number

N, Q = 24, 6
GROUPS = np.array([4, 4, 4, -1, 9, 9])


def _problem(seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    matrix = np.round(rng.random((Q, N)) * 9) * (rng.random((Q, N)) < 0.5)
    return matrix, matrix @ rng.uniform(1, 3, N)


def _model(**settings: Any) -> SparseCalibrationWeights:
    return SparseCalibrationWeights(N, **({"init_weights": 2.0, "seed": 3} | settings))


def _bits(model: SparseCalibrationWeights) -> list[list[float]]:
    return [model.log_weight.tolist(), model.log_alpha.tolist()]


# The interface.


def test_the_arguments_and_their_defaults_are_those_of_the_page() -> None:
    made = inspect.signature(SparseCalibrationWeights).parameters
    assert {name: p.default for name, p in made.items() if p.kind is not p.KEYWORD_ONLY} == {
        "n_features": inspect.Parameter.empty, "beta": 2 / 3, "gamma": -0.1, "zeta": 1.1, "init_keep_prob": 0.5,
        "init_weights": None, "log_weight_jitter_sd": 0.0, "log_alpha_jitter_sd": 0.01, "device": "cpu",
        "use_gates": True, "seed": None,
    }  # fmt: skip
    fit = inspect.signature(SparseCalibrationWeights.fit).parameters
    assert {name: p.default for name, p in fit.items() if name != "self"} == {
        "M": inspect.Parameter.empty, "y": inspect.Parameter.empty, "lambda_l0": 0.01, "lambda_l2": 0.0, "lr": 0.01,
        "epochs": 1000, "loss_type": "mse", "verbose": False, "verbose_freq": 100, "target_groups": None,
        "normalize_groups": True, "group_multipliers": None,
    }  # fmt: skip
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in fit.values())
    for method in (SparseCalibrationWeights.forward, SparseCalibrationWeights.get_weights):
        assert inspect.signature(method).parameters["deterministic"].default is False


def test_the_state_is_log_weight_and_log_alpha_and_nothing_else() -> None:
    model = _model()
    assert {name: (value.shape, value.dtype) for name, value in model.state_dict().items()} == {
        "log_weight": ((N,), torch.float32),
        "log_alpha": ((N,), torch.float32),
    }
    assert [name for name, _ in model.named_parameters()] == ["log_weight", "log_alpha"]


def test_it_starts_at_the_weights_and_probabilities_it_is_given() -> None:
    keep, weights = np.linspace(0.1, 0.9, N), np.linspace(0.5, 4, N)
    model = _model(init_weights=weights, init_keep_prob=keep, log_alpha_jitter_sd=0.0)
    torch.testing.assert_close(model.log_weight.exp().detach(), torch.tensor(weights, dtype=torch.float32))
    torch.testing.assert_close(model.log_alpha.sigmoid().detach(), torch.tensor(keep, dtype=torch.float32))
    assert _model(init_weights=None).log_weight.tolist() == [0.0] * N
    assert _model(init_weights=5.0).log_weight.tolist() == _model(init_weights=[5.0] * N).log_weight.tolist()


def test_the_jitter_of_the_gates_is_there_at_once() -> None:
    spread = _model(log_alpha_jitter_sd=0.5).log_alpha.std().item()
    assert 0.25 < spread < 1.0
    assert _model(log_alpha_jitter_sd=0.0).log_alpha.tolist() == [0.0] * N


def test_the_jitter_of_the_weights_comes_once_at_the_first_fit() -> None:
    matrix, totals = _problem()
    model, plain = _model(log_weight_jitter_sd=0.5), _model()
    assert model.log_weight.tolist() == plain.log_weight.tolist()
    model.fit(matrix, totals, lr=1e-9, epochs=1)
    spread = (model.log_weight - plain.log_weight).std().item()
    assert 0.25 < spread < 1.0
    jittered = model.log_weight.tolist()
    model.fit(matrix, totals, lr=1e-9, epochs=1)
    assert model.log_weight.tolist() == pytest.approx(jittered, abs=1e-6)


# The objective.


def _by_torch(
    *, seed: int, jitter_sd: float, steps: int, lambda_l0: float, lambda_l2: float, loss_type: str, importance: Tensor
) -> tuple[Tensor, Tensor]:
    """Minimise the objective of the page with torch's own derivatives and Adam, from the same draws, in float64."""
    matrix, totals = (torch.tensor(values) for values in _problem())
    generator = torch.Generator().manual_seed(seed)
    log_alpha = (0.01 * torch.randn(N, generator=generator)).double().requires_grad_()
    jitter = jitter_sd * torch.randn(N, generator=generator) if jitter_sd else torch.zeros(N)
    log_weight = (np.log(2.0) + jitter.double()).requires_grad_()
    adam = torch.optim.Adam([log_weight, log_alpha], lr=0.05, eps=1e-15)
    unit = totals + 1 if loss_type == "relative" else torch.ones_like(totals)
    stream = int(torch.randint(2**62, (1,), generator=generator))
    for step in range(steps):
        noise = logistic_by_number(torch.empty(N), epoch_key(stream, step)).double()
        gate = (torch.sigmoid((noise + log_alpha) / 0.5) * 1.3 - 0.1).clamp(0, 1)
        error = (totals - matrix @ (log_weight.exp() * gate)) / unit
        expected_l0 = torch.sigmoid(log_alpha - 0.5 * np.log(0.1 / 1.2)).sum()
        loss = (importance * error**2).sum() + lambda_l0 * expected_l0 + lambda_l2 * (2 * log_weight).exp().sum()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
    return log_weight.detach(), log_alpha.detach()


GROUPINGS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "no groups": ({}, [1.0] * Q),
    "groups": ({"target_groups": GROUPS}, [1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2]),
    "groups as they are": ({"target_groups": GROUPS, "normalize_groups": False}, [1.0] * Q),
    "multipliers": (
        {"target_groups": GROUPS.tolist(), "group_multipliers": {4: 6.0, -1: 0.0}},
        [2.0, 2.0, 2.0, 0.0, 1 / 2, 1 / 2],
    ),
    "multipliers alone": (
        {"target_groups": torch.tensor(GROUPS), "normalize_groups": False, "group_multipliers": {9: 3}},
        [1.0, 1.0, 1.0, 1.0, 3.0, 3.0],
    ),
}


@pytest.mark.parametrize("loss_type", ["mse", "relative"])
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_a_fit_is_adam_on_the_objective_of_the_page(loss_type: str, grouping: str) -> None:
    settings, importance = GROUPINGS[grouping]
    prices = {"lambda_l0": 0.03, "lambda_l2": 0.002}
    model = _model(beta=0.5, zeta=1.2, log_weight_jitter_sd=0.1)
    model.fit(*_problem(), lr=0.05, epochs=50, **(settings | prices | {"loss_type": loss_type}))
    log_weight, log_alpha = _by_torch(
        seed=3, jitter_sd=0.1, steps=50, loss_type=loss_type, importance=torch.tensor(importance), **prices
    )
    torch.testing.assert_close(model.log_weight.detach().double(), log_weight, rtol=0, atol=2e-4)
    torch.testing.assert_close(model.log_alpha.detach().double(), log_alpha, rtol=0, atol=2e-4)
    assert float((log_weight - np.log(2.0)).abs().max()) > 0.3  # it went somewhere


@pytest.mark.parametrize("loss_type", ["mse", "relative"])
def test_history_holds_the_objective_under_the_weights_of_test_time(loss_type: Any) -> None:
    matrix, totals = _problem()
    model = _model().fit(
        matrix, totals, lambda_l0=0.3, lambda_l2=0.01, lr=0.05, epochs=30, loss_type=loss_type, target_groups=GROUPS
    )
    now = {name: series[-1] for name, series in model.history.metrics.items()}
    weights = model.get_weights(deterministic=True).detach().double().numpy()
    errors = (totals - matrix @ weights) / (totals + 1 if loss_type == "relative" else 1)
    data_loss = float(np.array(GROUPINGS["groups"][1]) @ errors**2)
    assert now["data_loss"] == pytest.approx(data_loss, rel=1e-4)
    assert now["l0_penalty"] == pytest.approx(0.3 * model.get_l0_penalty().item(), rel=1e-5)
    assert now["l2_penalty"] == pytest.approx(0.01 * model.get_l2_penalty().item(), rel=1e-5)
    assert now["loss"] == pytest.approx(now["data_loss"] + now["l0_penalty"] + now["l2_penalty"])
    assert (now["mean_abs_error"], now["max_abs_error"]) == pytest.approx(
        (np.abs(errors).mean(), np.abs(errors).max()), rel=1e-4
    )
    assert now["active"] == model.get_active_weights()["count"]


def test_targets_below_minus_one_are_met_as_others_are() -> None:
    matrix = -_problem()[0]
    totals = matrix @ np.full(N, 3.0)
    model = _model(use_gates=False).fit(matrix, totals, lr=0.02, epochs=400, loss_type="relative")
    np.testing.assert_allclose(model.predict(matrix).numpy(), totals, rtol=1e-2)


# Weights.


def test_the_active_weights_are_those_above_zero_at_test_time() -> None:
    matrix, totals = _problem()
    model = _model(init_keep_prob=np.linspace(0.1, 0.9, N)).fit(matrix, totals, epochs=20)
    weights, active = model.get_weights(deterministic=True).detach(), model.get_active_weights()
    assert active["indices"].dtype == torch.int64
    assert active["indices"].tolist() == np.flatnonzero(weights.numpy() > 0).tolist()
    assert torch.equal(active["values"], weights[active["indices"]])
    assert 0 < active["count"] == len(active["indices"]) < N
    assert not active["values"].requires_grad
    assert model.get_sparsity() == pytest.approx(1 - active["count"] / N)
    closed = model.get_deterministic_gates() == 0
    assert model.get_sparsity() == pytest.approx(closed.double().mean().item())


def test_a_unit_of_weight_zero_keeps_it_and_is_not_active() -> None:
    matrix, totals = _problem()
    model = _model(init_weights=np.where(np.arange(N) < 3, 0.0, 2.0), log_weight_jitter_sd=0.1, init_keep_prob=0.99)
    model.fit(matrix, totals, lambda_l2=1e-3, lr=0.1, epochs=50)
    assert model.get_weights()[:3].tolist() == model.get_weights(deterministic=True)[:3].tolist() == [0.0] * 3
    assert not set(model.get_active_weights()["indices"].tolist()) & {0, 1, 2}
    assert all(np.isfinite(list(model.history.metrics.values())).ravel())
    model.predict(matrix)
    torch.autograd.backward(model.forward(matrix).sum())
    assert model.log_alpha.grad is not None
    assert bool(torch.isfinite(model.log_alpha.grad).all())


def test_without_gates_all_are_open_and_never_move_and_cost_nothing() -> None:
    matrix, totals = _problem()
    model = _model(use_gates=False, init_keep_prob=np.linspace(1e-12, 0.9, N))
    before = model.log_alpha.tolist()
    model.fit(matrix, totals, lambda_l0=1e6, lr=0.02, epochs=300)
    assert model.log_alpha.tolist() == before
    assert model.get_deterministic_gates().tolist() == [1.0] * N
    assert torch.equal(model.get_weights(), model.get_weights(deterministic=True))
    assert (model.get_sparsity(), model.get_l0_penalty().item(), model.get_active_weights()["count"]) == (0.0, N, N)
    assert model.history.metrics["l0_penalty"] == [0.0] * 3
    np.testing.assert_allclose(model.predict(matrix).numpy(), totals, rtol=0.02)
    prune_model(model, threshold=0.9)
    assert model.log_alpha.tolist() == before
    assert model.count().active == N


def test_pruned_weights_are_zero_for_good() -> None:
    model = _model(init_keep_prob=np.where(np.arange(N) < 5, 0.01, 0.9))
    prune_model(model, threshold=0.5)
    assert model.log_weight.exp()[:5].tolist() == [0.0] * 5
    assert model.get_active_weights()["indices"].tolist() == list(range(5, N))


def test_a_prediction_is_of_the_matrix_at_hand() -> None:
    matrix, totals = _problem()
    model = _model().fit(matrix, totals, epochs=20)
    once = model.predict(matrix)
    assert (once.shape, once.dtype, once.requires_grad) == ((Q,), torch.float32, False)
    torch.testing.assert_close(model.predict(10 * matrix), 10 * once)
    torch.testing.assert_close(model.predict(matrix[::-1].copy()), once.flip(0))
    weights = model.get_weights(deterministic=True).detach().double().numpy()
    np.testing.assert_allclose(once.numpy(), matrix @ weights, rtol=1e-5)


# Forms of the arguments.


def _torch_csr(matrix: NDArray[np.float64]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.tensor(matrix).to_sparse_csr()


FORMS: dict[str, Callable[[NDArray[np.float64]], Any]] = {
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "csc": sp.csc_array,
    "coo with duplicates": lambda m: sp.coo_array(
        (np.tile(m[m != 0] / 2, 2), tuple(np.tile(i, 2) for i in np.nonzero(m))), shape=m.shape
    ),
    "dia": sp.dia_array,
    "bsr": sp.bsr_array,
    "lil": sp.lil_array,
    "dense": np.asarray,
    "integers": lambda m: m.astype(np.int32),
    "torch": torch.tensor,
    "torch coo": lambda m: torch.tensor(m).to_sparse(),
    "torch csr": _torch_csr,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_matrix_gives_the_same_bits(form: str) -> None:
    matrix, totals = _problem()
    given = FORMS[form](matrix)
    model, plain = _model().fit(given, totals, epochs=10), _model().fit(matrix, totals, epochs=10)
    assert _bits(model) == _bits(plain)
    assert torch.equal(model.predict(given), plain.predict(matrix))


@pytest.mark.parametrize("form", [list, np.asarray, torch.tensor])
def test_every_form_of_the_targets_gives_the_same_bits(form: Callable[..., Any]) -> None:
    matrix, totals = _problem()
    assert _bits(_model().fit(matrix, form(totals), epochs=5)) == _bits(_model().fit(matrix, totals, epochs=5))


# Refusals.

BAD_SETTINGS: list[tuple[str, Any, str]] = [
    ("init_weights", np.where(np.arange(N) > 6, -2.0, 1.0), r"init_weights\[7\] is -2; it must be 0 or more"),
    ("init_weights", -1.0, r"init_weights\[0\] is -1"),
    ("init_weights", [1.0], r"init_weights has shape \(1,\); it needs \(24,\)"),
    ("init_weights", [np.inf] * N, r"init_weights\[0\] is inf"),
    ("log_weight_jitter_sd", -0.1, "log_weight_jitter_sd is -0.1"),
    ("log_alpha_jitter_sd", float("nan"), "log_alpha_jitter_sd is nan"),
    ("use_gates", "yes", "use_gates is 'yes'; it must be True or False"),
]


@pytest.mark.parametrize(("name", "value", "words"), BAD_SETTINGS)
def test_a_wrong_setting_is_refused_by_name_and_value(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        _model(**{name: value})
    assert isinstance(caught.value, L0Error)


BAD_FITS: list[tuple[dict[str, Any], type[L0Error], str]] = [
    ({"loss_type": "huber"}, InvalidHyperparameter, "loss_type is 'huber'; it must be one of 'mse', 'relative'"),
    ({"loss_type": None}, InvalidHyperparameter, "loss_type is None"),
    ({"lambda_l0": -1}, InvalidHyperparameter, "lambda_l0 is -1; it must be a number at least 0"),
    ({"lambda_l0": float("nan")}, InvalidHyperparameter, "lambda_l0 is nan"),
    ({"lambda_l2": -1e-9}, InvalidHyperparameter, "lambda_l2 is -1e-09"),
    ({"target_groups": [0, 1, 1.5, 2, 2, 2]}, InvalidInput, r"target_groups\[2\] is 1.5; it must be a whole number"),
    ({"target_groups": [0, 1]}, InvalidInput, r"target_groups has shape \(2,\); it needs \(6,\)"),
    ({"target_groups": [0, 1, np.nan, 2, 2, 2]}, InvalidInput, r"target_groups\[2\] is nan"),
    ({"normalize_groups": "yes"}, InvalidHyperparameter, "normalize_groups is 'yes'"),
    ({"group_multipliers": {1: 2.0}}, InvalidHyperparameter, "group_multipliers is given without target_groups"),
]
BAD_MULTIPLIERS: list[tuple[Any, str]] = [
    ({4: -3.0}, r"group_multipliers\[4\] is -3.0"),
    ({4: float("nan")}, r"group_multipliers\[4\] is nan"),
    ({4: "much"}, r"group_multipliers\[4\] is 'much'"),
    ({5: 2.0}, "group_multipliers names group '5', and no target of the fit is in it"),
    ({"4": 2.0}, "a group in group_multipliers is '4'; it must be a whole number"),
    ({4.5: 2.0}, "a group in group_multipliers is 4.5"),
    ([1.0, 2.0], r"group_multipliers is \[1.0, 2.0\]; it must be a mapping"),
    (0, "group_multipliers is 0; it must be a mapping"),
]
BAD_FITS += [
    ({"target_groups": GROUPS, "group_multipliers": multipliers}, InvalidHyperparameter, words)
    for multipliers, words in BAD_MULTIPLIERS
]


@pytest.mark.parametrize(("settings", "error", "words"), BAD_FITS)
def test_a_refused_fit_leaves_the_model_untouched(settings: dict[str, Any], error: type[L0Error], words: str) -> None:
    model = _model(log_weight_jitter_sd=0.1)
    before = _bits(model)
    with pytest.raises(error, match=words) as caught:
        model.fit(*_problem(), epochs=5, **settings)
    assert isinstance(caught.value, ValueError)
    assert (_bits(model), model.history.steps) == (before, [])
    undisturbed = _model(log_weight_jitter_sd=0.1).fit(*_problem(), epochs=5)
    assert _bits(model.fit(*_problem(), epochs=5)) == _bits(undisturbed)


def test_a_target_of_minus_one_is_refused_where_the_loss_divides_by_y_plus_one_and_only_there() -> None:
    matrix, totals = _problem()
    totals[[2, 4]] = -1.0
    model = _model()
    with pytest.raises(InvalidInput, match=r"y\[2\] is -1, .* \(2 such values\)") as caught:
        model.fit(matrix, totals, epochs=5, loss_type="relative")
    assert caught.value.pointer == "/y/2"
    model.fit(matrix, totals, epochs=5, loss_type="mse")
    assert all(np.isfinite(_bits(model)).ravel())


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
def test_the_unit_of_the_targets_changes_no_step(unit: float) -> None:
    """Dollars or billions of dollars: the same bits, where the prices are in the same unit."""
    matrix, targets = _problem()
    settings: dict[str, Any] = {"lr": 0.05, "epochs": 40, "loss_type": "mse"}
    plain = _model().fit(matrix, targets, lambda_l0=0.5, **settings)
    scaled = _model().fit(matrix * unit, targets * unit, lambda_l0=0.5 * unit**2, **settings)
    assert _bits(scaled) == _bits(plain)
