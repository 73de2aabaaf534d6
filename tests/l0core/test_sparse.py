"""`SparseL0Linear`: the coefficients it finds, the objective it says it minimises, the intercept that fits best."""

import inspect
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from l0core import SparseL0Linear, prune_model
from l0core.calibration import fitting
from l0core.errors import Diverged, InvalidHyperparameter
from l0core.noise import epoch_key, logistic_by_number

TRUE = np.array([1.0, 0.0, -2.0, 0.0])


def _problem(*, intercept: float = 5.0, scale: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    features = np.random.default_rng(0).normal(size=(200, 4))
    return features, scale * (features @ TRUE) + intercept


def _fitted(**settings: Any) -> SparseL0Linear:
    return SparseL0Linear(4, seed=1).fit(*_problem(), **({"lambda_reg": 0.05, "lr": 0.05, "epochs": 600} | settings))


def _best_intercept(model: SparseL0Linear, features: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float((y - features @ model.get_weights(deterministic=True).detach().double().numpy()).mean())


def test_the_arguments_and_their_defaults_are_those_of_the_page() -> None:
    made = inspect.signature(SparseL0Linear).parameters
    assert list(made)[:2] == ["n_features", "fit_intercept"]
    assert {name: p.default for name, p in made.items()} == {
        "n_features": inspect.Parameter.empty, "fit_intercept": True, "beta": 2 / 3, "gamma": -0.1, "zeta": 1.1,
        "init_keep_prob": 0.5, "device": "cpu", "seed": None, "generator": None,
    }  # fmt: skip


def test_it_finds_the_features_that_matter_and_the_intercept() -> None:
    model = _fitted()
    assert model.get_selected_features().tolist() == [0, 2]
    np.testing.assert_allclose(model.get_coefficients().numpy(), TRUE, atol=0.05)
    assert model.bias is not None
    assert model.bias.item() == pytest.approx(5.0, abs=0.05)
    features, y = _problem()
    prediction = model.predict(features)
    assert (prediction.shape, prediction.requires_grad) == ((200,), False)
    np.testing.assert_allclose(prediction.numpy(), y, atol=0.2)


def test_coefficients_of_hundreds_are_found_too() -> None:
    """Signed weights are no logarithms: no size of theirs is a divergence."""
    features, y = _problem(scale=100.0)
    model = SparseL0Linear(4, seed=1, init_keep_prob=0.9).fit(features, y, lambda_reg=1.0, lr=0.5, epochs=1500)
    np.testing.assert_allclose(model.get_coefficients().numpy(), 100 * TRUE, rtol=0.02, atol=2)


def test_a_constant_of_a_hundred_million_hides_no_coefficient() -> None:
    features, y = _problem(intercept=1e8)
    model = SparseL0Linear(4, seed=1).fit(features, y, lambda_reg=0.05, lr=0.05, epochs=600)
    np.testing.assert_allclose(model.get_coefficients().numpy(), TRUE, atol=0.05)


def test_a_fit_is_adam_on_the_mean_squared_error_and_the_price() -> None:
    """By torch's own derivatives and Adam, from the same draws; the intercept is profiled out by a centred residual."""
    features, y = (torch.tensor(values) for values in _problem())
    generator = torch.Generator().manual_seed(7)
    log_alpha = (0.01 * torch.randn(4, generator=generator)).double().requires_grad_()
    weight = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weight, log_alpha], lr=0.05, eps=1e-15)
    stream = int(torch.randint(2**62, (1,), generator=generator))
    for step in range(50):
        noise = logistic_by_number(torch.empty(4), epoch_key(stream, step)).double()
        gate = (torch.sigmoid((noise + log_alpha) / 0.5) * 1.2 - 0.1).clamp(0, 1)
        residual = y - features @ (weight * gate)
        bias = residual.mean()
        price = 0.3 * torch.sigmoid(log_alpha - 0.5 * np.log(0.1 / 1.1)).sum()
        adam.zero_grad()
        torch.autograd.backward((residual - bias).square().mean() + price)
        adam.step()
    model = SparseL0Linear(4, beta=0.5, seed=7).fit(features, y, lambda_reg=0.3, lr=0.05, epochs=50)
    torch.testing.assert_close(model.weight.detach().double(), weight.detach(), rtol=0, atol=2e-4)
    torch.testing.assert_close(model.log_alpha.detach().double(), log_alpha.detach(), rtol=0, atol=2e-4)


def test_history_holds_the_mean_squared_error_of_the_prediction() -> None:
    features, y = _problem()
    model = _fitted(epochs=30)
    error = model.predict(features).double().numpy() - y
    now = {name: series[-1] for name, series in model.history.metrics.items()}
    assert now["data_loss"] == pytest.approx(float((error**2).mean()), rel=1e-4)
    assert now["l0_penalty"] == pytest.approx(0.05 * model.get_l0_penalty().item(), rel=1e-5)
    assert now["loss"] == pytest.approx(now["data_loss"] + now["l0_penalty"])
    assert now["mean_abs_error"] == pytest.approx(float(np.abs(error).mean()), rel=1e-4)


@pytest.mark.parametrize("epochs", [1, 7, 100])
def test_the_intercept_is_always_the_best_one(epochs: int) -> None:
    model = _fitted(epochs=epochs)
    assert model.bias is not None
    assert model.bias.item() == pytest.approx(_best_intercept(model, *_problem()), rel=1e-6)


def test_an_interrupted_fit_has_the_intercept_of_the_steps_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def bar(_shown: bool, _title: str, _total: int) -> Any:
        def advance(_done: int, _note: str) -> None:
            raise KeyboardInterrupt

        yield advance

    model = SparseL0Linear(4, seed=1)
    monkeypatch.setattr(fitting, "bar_if", bar)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*_problem(), lr=0.05, epochs=60, verbose=True, verbose_freq=20)
    assert model.history.steps == [20]
    assert model.bias is not None
    assert model.bias.item() == pytest.approx(_best_intercept(model, *_problem()), rel=1e-6)


def test_a_fit_that_diverges_leaves_the_intercept_too() -> None:
    model, (features, y) = _fitted(epochs=20), _problem()
    assert model.bias is not None
    before = model.bias.item()
    with pytest.raises(Diverged):
        model.fit(features, y * 1e30, epochs=2)
    assert model.bias.item() == before


def test_without_an_intercept_there_is_none() -> None:
    model = SparseL0Linear(4, fit_intercept=False, seed=1)
    assert list(model.state_dict()) == ["weight", "log_alpha"]
    features, y = _problem(intercept=0.0)
    model.fit(features, y, lambda_reg=0.05, lr=0.05, epochs=600)
    np.testing.assert_allclose(model.get_coefficients().numpy(), TRUE, atol=0.05)
    assert model.bias is None
    assert model.predict(np.zeros((2, 4))).tolist() == [0.0, 0.0]


def test_the_state_is_weight_bias_and_log_alpha() -> None:
    shapes = {name: tuple(value.shape) for name, value in SparseL0Linear(4).state_dict().items()}
    assert shapes == {"weight": (4,), "bias": (1,), "log_alpha": (4,)}


def test_two_fits_are_one_of_their_sum() -> None:
    whole, parts = _fitted(epochs=40), _fitted(epochs=15)
    parts.fit(*_problem(), lambda_reg=0.05, lr=0.05, epochs=25)
    assert [p.tolist() for p in parts.parameters()] == [p.tolist() for p in whole.parameters()]


def test_a_threshold_is_on_the_gate() -> None:
    model = SparseL0Linear(4, init_keep_prob=[0.01, 0.45, 0.6, 0.999], seed=1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([1.0, -2.0, 3.0, 1e-6]))
    gates = model.get_deterministic_gates().detach()
    assert 0 == gates[0] < gates[1] < gates[2] < gates[3] == 1
    for threshold, chosen in ((0.0, [1, 2, 3]), (0.01, [1, 2, 3]), (gates[1].item() + 1e-6, [2, 3]), (1.0, [])):
        assert model.get_selected_features(threshold).tolist() == chosen
        expected = [(model.weight * gates)[j].item() if j in chosen else 0.0 for j in range(4)]
        assert model.get_coefficients(threshold).tolist() == expected
    assert model.get_selected_features().dtype == torch.int64


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "high"])
def test_a_threshold_outside_zero_to_one_is_refused(threshold: Any) -> None:
    for method in ("get_selected_features", "get_coefficients"):
        with pytest.raises(InvalidHyperparameter, match="threshold is "):
            getattr(SparseL0Linear(4), method)(threshold)


@pytest.mark.parametrize(
    "form",
    [sp.csr_matrix, sp.csr_array, sp.csc_array, sp.coo_array, sp.lil_array, sp.bsr_array, torch.tensor, list],
)
def test_every_form_of_the_features_gives_the_same_bits(form: Any) -> None:
    features, y = _problem()
    model, plain = SparseL0Linear(4, seed=1), SparseL0Linear(4, seed=1)
    model.fit(form(features), y, epochs=5)
    plain.fit(features, y, epochs=5)
    assert [p.tolist() for p in model.parameters()] == [p.tolist() for p in plain.parameters()]
    assert torch.equal(model.predict(form(features)), plain.predict(features))


def test_a_price_below_zero_is_refused_by_its_name_here() -> None:
    with pytest.raises(InvalidHyperparameter, match="lambda_reg is -1; it must be a number at least 0"):
        SparseL0Linear(4).fit(*_problem(), lambda_reg=-1)
    with pytest.raises(InvalidHyperparameter, match="fit_intercept is 'yes'"):
        SparseL0Linear(4, fit_intercept="yes")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match=r"X_sparse has shape \(2, 5\); it needs 4 columns"):
        SparseL0Linear(4).fit(np.ones((2, 5)), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"X has shape \(2, 5\)"):
        SparseL0Linear(4).forward(np.ones((2, 5)))


def test_pruned_features_have_a_weight_of_zero() -> None:
    model = SparseL0Linear(4, init_keep_prob=[0.01, 0.9, 0.01, 0.9], seed=1)
    with torch.no_grad():
        model.weight.fill_(1.0)
    prune_model(model, threshold=0.5)
    assert model.weight.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert model.get_selected_features().tolist() == [1, 3]
