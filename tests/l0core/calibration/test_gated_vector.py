"""What survey weights and sparse regression share: laws of a fit, of its gates and of its state, over both."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import l0core
from l0core import SparseCalibrationWeights, SparseL0Linear
from l0core import hard_concrete as hc
from l0core.calibration import fitting
from l0core.calibration.gated_vector import GatedVector
from l0core.calibration.kernels import fused
from l0core.calibration.walk import walk
from l0core.errors import Diverged, InvalidHyperparameter, InvalidInput

N, Q = 30, 8
Make = Callable[..., GatedVector]
FAMILY: dict[str, Make] = {"weights": SparseCalibrationWeights, "regression": SparseL0Linear}
MEASURED = "loss data_loss l0_penalty l2_penalty expected_l0 active mean_abs_error max_abs_error"


@pytest.fixture(params=FAMILY)
def make(request: pytest.FixtureRequest) -> Make:
    found = FAMILY[request.param]
    return lambda **settings: found(N, **({"seed": 3} | settings))


def _problem(seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    matrix = rng.random((Q, N)) * (rng.random((Q, N)) < 0.5)
    return matrix, matrix @ rng.uniform(0, 3, N)


def _fit(model: Any, *, epochs: int = 20, seed: int = 1, lr: float = 0.05, **settings: Any) -> Any:
    return model.fit(*_problem(seed), lr=lr, epochs=epochs, **settings)


def _bits(model: GatedVector) -> list[list[float]]:
    return [value.tolist() for value in model.state_dict().values()]


# A fit goes on.


@pytest.mark.parametrize("chunks", [(20, 20), (1,) * 5 + (35,)])
@pytest.mark.parametrize("settings", [{}, {"verbose": True}, {"verbose_freq": 3}, {"verbose": True, "verbose_freq": 7}])
def test_fits_of_a_few_epochs_are_one_of_their_sum_however_shown(
    make: Make, chunks: tuple[int, ...], settings: dict[str, Any]
) -> None:
    whole, parts = _fit(make(), epochs=sum(chunks)), make()
    for epochs in chunks:
        _fit(parts, epochs=epochs, **settings)
    assert _bits(parts) == _bits(whole)
    assert parts.history.steps[-1] == whole.history.steps[-1] == sum(chunks)
    assert [series[-1] for series in parts.history.metrics.values()] == [s[-1] for s in whole.history.metrics.values()]


def test_a_model_that_was_pickled_between_two_fits_goes_on_as_if_it_had_not_been(make: Make) -> None:
    saved = pickle.loads(pickle.dumps(_fit(make())))
    assert _bits(_fit(saved)) == _bits(_fit(make(), epochs=40))
    assert saved.history.steps == [20, 40]


def test_a_copy_goes_on_from_the_same_place_with_other_draws(make: Make) -> None:
    model = _fit(make())
    twin = copy.deepcopy(model)
    assert _bits(twin) == _bits(model)
    before = _bits(model)
    assert _bits(_fit(twin, epochs=1)) != _bits(_fit(copy.deepcopy(model), epochs=1))
    assert _bits(model) == before
    assert twin.history.steps == [20, 21]


def test_a_further_fit_is_on_the_matrix_it_is_given(make: Make) -> None:
    model: Any = _fit(make(), epochs=400)
    other, totals = _problem(seed=2)
    _fit(model, epochs=800, seed=2)
    unfitted = np.abs(other @ np.zeros(N) - totals).mean()
    assert np.abs(model.predict(other).numpy() - totals).mean() < 0.2 * unfitted


def test_history_reports_the_error_on_the_matrix_of_its_fit(make: Make) -> None:
    model: Any = _fit(make(), epochs=30)
    for seed in (1, 2):
        matrix, totals = _problem(seed)
        _fit(model, epochs=3, seed=seed)
        errors = np.abs(model.predict(matrix).numpy() - totals)
        assert model.history.metrics["mean_abs_error"][-1] == pytest.approx(errors.mean(), rel=1e-4)
        assert model.history.metrics["max_abs_error"][-1] == pytest.approx(errors.max(), rel=1e-4)


def test_history_has_one_number_of_each_name_a_record(make: Make) -> None:
    model: Any = _fit(make(), epochs=10, verbose_freq=4)
    _fit(model, epochs=4, verbose_freq=4)
    assert model.history.steps == [4, 8, 10, 14]
    assert list(model.history.metrics) == MEASURED.split()
    assert {len(series) for series in model.history.metrics.values()} == {4}
    assert model.history.metrics["active"][-1] == model.count().active
    assert model.history.metrics["expected_l0"][-1] == pytest.approx(model.get_l0_penalty().item(), rel=1e-6)


def test_the_bar_of_a_fit_goes_to_standard_error_alone(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    _fit(make(), verbose=True, verbose_freq=5)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "20/20" in shown.err


# A fit ends before its end.


@contextmanager
def _interrupted(monkeypatch: pytest.MonkeyPatch, *, after: int) -> Any:
    """Raise KeyboardInterrupt where the bar is told of so many epochs."""

    @contextmanager
    def bar(_shown: bool, _title: str, _total: int) -> Any:
        def advance(done: int, _note: str) -> None:
            if done == after:
                raise KeyboardInterrupt

        yield advance

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(fitting, "bar_if", bar)
        yield


def test_an_interrupted_fit_keeps_the_steps_taken_and_can_go_on(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = make()
    with _interrupted(monkeypatch, after=12):
        _fit(model, epochs=40, verbose=True, verbose_freq=4)
    assert _bits(model) == _bits(_fit(make(), epochs=12))
    assert model.history.steps == [4, 8, 12]
    assert _bits(_fit(model, epochs=28)) == _bits(_fit(make(), epochs=40))


def test_an_interrupted_fit_keeps_weights_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SparseL0Linear(N, seed=3)
    with torch.no_grad():
        model.weight.fill_(1e3)  # no logarithm: its exponential would be infinite
    with _interrupted(monkeypatch, after=4):
        _fit(model, verbose=True, verbose_freq=4)
    assert model.history.steps == [4]
    assert 0 < (model.weight - 1e3).abs().max().item() < 1


def test_an_interrupt_while_the_kernel_runs_is_heard_when_it_returns_and_its_step_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python looks for signals between its own instructions: after a call of compiled code, hardly ever elsewhere."""
    model, taken, calls = SparseCalibrationWeights(N, seed=3), fused.epoch, iter(range(100))

    def epoch(*given: Any) -> None:
        taken(*given)
        if next(calls) == 11:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(fused, "epoch", epoch)
        _fit(model, epochs=40)
    assert _bits(model) == _bits(_fit(SparseCalibrationWeights(N, seed=3), epochs=12))
    assert _bits(_fit(model, epochs=28)) == _bits(_fit(SparseCalibrationWeights(N, seed=3), epochs=40))


@pytest.mark.parametrize("lr", [30, 1e20])
def test_an_interrupted_fit_that_had_diverged_unseen_is_undone(
    make: Make, lr: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = _fit(make(), epochs=5)
    before = _bits(model)
    matrix, totals = _problem()

    def short_walk(*given: Any) -> Any:
        way, calls = walk(*given), iter(range(100))
        taken = way.step

        def step(price: Tensor, *, learning_rate: float) -> None:
            if next(calls) == 9:
                raise KeyboardInterrupt
            taken(price, learning_rate=learning_rate)

        monkeypatch.setattr(way, "step", step)
        return way

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(fitting, "walk", short_walk)
        model.fit(matrix * 1e15, totals * 1e18, lr=lr, epochs=50)
    assert (_bits(model), model.history.steps) == (before, [5])
    assert _fit(model, epochs=5).history.steps == [5, 10]


def test_a_fit_that_diverges_after_it_recorded_something_takes_that_back(make: Make) -> None:
    model: Any = _fit(make(), epochs=5)
    before = _bits(model)
    matrix, totals = _problem()
    weights = isinstance(model, SparseCalibrationWeights)
    with pytest.raises(Diverged) as caught:
        far, lr = (1e15, 30) if weights else (1e3, 1e25)  # beyond float32 in a few steps, not in one
        model.fit(matrix, totals * far, lr=lr, epochs=50, verbose_freq=1)
    assert caught.value.epoch > 6  # one epoch of this fit at least was recorded
    assert (_bits(model), model.history.steps) == (before, [5])


def test_a_fit_that_diverges_leaves_everything_as_it_was(make: Make) -> None:
    model: Any = _fit(make(), epochs=10)
    before, undisturbed = _bits(model), copy.deepcopy(model.history)
    matrix, totals = _problem()
    with pytest.raises(Diverged):
        model.fit(matrix, totals * 1e38, lr=0.01, epochs=3, verbose_freq=1)
    with pytest.raises(Diverged):
        model.fit(matrix * 1e30, totals, lr=1e30, epochs=9, verbose_freq=1)
    assert _bits(model) == before
    assert model.history == undisturbed
    assert _fit(model).history.steps == [10, 30]


def test_a_first_fit_that_diverges_leaves_the_model_as_it_was_made() -> None:
    model = SparseCalibrationWeights(N, log_weight_jitter_sd=0.5, seed=3)
    before = _bits(model)
    matrix, totals = _problem()
    with pytest.raises(Diverged):
        model.fit(matrix, totals * 1e38, epochs=3)
    assert _bits(model) == before
    assert model.history.steps == []


def test_a_fit_that_cannot_be_shown_changes_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    model = make()
    before = _bits(model)
    with pytest.raises(l0core.errors.MissingPackage, match="rich"):
        _fit(model, verbose=True)
    assert _bits(model) == before


# Random numbers.


def test_a_seed_gives_the_same_bits_in_another_process() -> None:
    program = (
        "import numpy as np, hashlib\nfrom l0core import SparseCalibrationWeights\n"
        "rng = np.random.default_rng(1)\nM = rng.random((8, 30))\n"
        "m = SparseCalibrationWeights(30, log_weight_jitter_sd=0.1, seed=5).fit(M, M.sum(axis=1), epochs=30)\n"
        "print(hashlib.sha256(b''.join(p.detach().numpy().tobytes() for p in m.parameters())).hexdigest())"
    )
    found = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert found[0] == found[1] != ""


def test_two_models_without_a_seed_draw_different_numbers(make: Make) -> None:
    first, second = make(seed=None), make(seed=None)
    assert _bits(first) != _bits(second)
    with torch.no_grad():
        second.load_state_dict(first.state_dict())
    assert _bits(_fit(first)) != _bits(_fit(second))


def test_a_generator_is_a_seed_handed_in(make: Make) -> None:
    handed = make(seed=None, generator=torch.Generator().manual_seed(3))
    assert _bits(_fit(handed)) == _bits(_fit(make()))


def test_the_global_generators_are_left_alone(make: Make) -> None:
    before = torch.get_rng_state(), copy.deepcopy(np.random.get_state())  # the one that must not move
    for seed in (3, None):
        model: Any = _fit(make(seed=seed), verbose=True)
        model.get_weights(), model.predict(_problem()[0]), model.forward(_problem()[0])
        copy.deepcopy(model), pickle.dumps(model), l0core.prune_model(model)
    after = torch.get_rng_state(), np.random.get_state()
    assert torch.equal(before[0], after[0])
    assert all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))


# Gates and weights.


def test_a_gate_is_above_zero_exactly_where_it_is_likelier_open_than_closed(make: Make) -> None:
    model = make(init_keep_prob=np.linspace(0.01, 0.99, N), beta=2 / 3)
    open_ = hc.prob_active(model.log_alpha, model.shape) > 0.5
    assert torch.equal(model.get_deterministic_gates() > 0, open_)
    assert 0 < int(open_.sum()) < N
    assert model.get_sparsity() == pytest.approx(1 - int(open_.sum()) / N)


def test_drawn_gates_change_and_deterministic_ones_do_not(make: Make) -> None:
    model = _fit(make())
    assert not torch.equal(model.get_weights(), model.get_weights())
    assert torch.equal(model.get_weights(deterministic=True), model.get_weights(deterministic=True))


def test_the_penalties_are_their_formulas(make: Make) -> None:
    model = _fit(make())
    expected = 1 / (1 + np.exp(-(model.log_alpha.detach().double().numpy() - 2 / 3 * np.log(0.1 / 1.1))))
    weights = model.weight_parameter.detach().double().numpy()
    weights = np.exp(weights) if isinstance(model, SparseCalibrationWeights) else weights
    assert model.get_l0_penalty().item() == pytest.approx(expected.sum(), rel=1e-5)
    assert model.get_l2_penalty().item() == pytest.approx((weights**2).sum(), rel=1e-5)


@pytest.mark.parametrize("deterministic", [True, False])
def test_forward_has_the_derivatives_of_finite_differences(make: Make, deterministic: bool) -> None:
    model: Any = _fit(make(beta=1.0), epochs=5)
    state, matrix = pickle.dumps(model), _problem()[0]

    def value(parameter: str = "log_alpha", unit: int = 0, step: float = 0.0) -> Tensor:
        nonlocal model
        model = pickle.loads(state)  # with the same draws
        with torch.no_grad():
            getattr(model, parameter)[unit] += step
        total: Tensor = (model.forward(matrix, deterministic=deterministic) * torch.arange(1.0, Q + 1)).sum()
        return total

    torch.autograd.backward(value())
    names = ("log_alpha", "log_weight" if isinstance(model, SparseCalibrationWeights) else "weight")
    slopes, h = {name: getattr(model, name).grad for name in names}, 1e-2
    assert all(bool(slope.any()) for slope in slopes.values())
    for name, slope in slopes.items():
        for unit in range(5):
            with torch.no_grad():
                difference = (value(name, unit, h) - value(name, unit, -h)) / (2 * h)
            assert float(slope[unit]) == pytest.approx(float(difference), rel=2e-2, abs=2e-2)


def test_a_temperature_reaches_the_gates(make: Make) -> None:
    model = make(init_keep_prob=0.6)
    soft = model.get_deterministic_gates()
    l0core.update_temperatures(nn.Sequential(model), 0.05)
    assert model.beta == model.shape.beta == 0.05
    assert bool((model.get_deterministic_gates() > soft).all())


def test_pruning_closes_what_is_hardly_ever_open_for_good(make: Make) -> None:
    model = make(init_keep_prob=np.where(np.arange(N) < 10, 0.01, 0.9))
    _fit(model, epochs=2)
    pruned = l0core.prune_model(model, threshold=0.5)
    assert pruned is model
    assert not bool(model.get_weights(deterministic=True)[:10].any())
    assert model.count().active == N - 10
    _fit(model, epochs=50, lr=0.1)
    assert not bool(model.get_weights()[:10].any())
    assert not bool(model.get_weights(deterministic=True)[:10].any())


def test_what_is_pruned_is_no_longer_in_the_sum_of_squares(make: Make) -> None:
    model = _fit(make(), epochs=5)
    l0core.prune_model(model, threshold=0.999)
    assert model.sum_of_squares().item() == 0.0


# The state of a model.


def test_a_state_goes_into_another_model(make: Make) -> None:
    model, other = _fit(make()), make(seed=4)
    assert _bits(other) != _bits(model)
    other.load_state_dict(model.state_dict())
    assert _bits(other) == _bits(model)
    assert torch.equal(other.get_weights(deterministic=True), model.get_weights(deterministic=True))


def test_parameters_that_were_set_between_two_fits_are_where_the_second_begins(make: Make) -> None:
    model = _fit(make())
    with torch.no_grad():
        model.weight_parameter.fill_(7.0)
    _fit(model, epochs=1, lr=1e-6)
    assert model.weight_parameter.tolist() == pytest.approx([7.0] * N, abs=1e-4)


def test_a_default_type_of_float64_changes_neither_type_nor_possibility(make: Make) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        model = _fit(make())
        assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_model_made_double_can_be_fitted_and_asked(make: Make) -> None:
    model: Any = _fit(make().double(), epochs=5)
    prediction = model.predict(_problem()[0])
    assert prediction.dtype == torch.float64
    torch.testing.assert_close(prediction.float(), _fit(make(), epochs=5).predict(_problem()[0]), rtol=1e-4, atol=1e-5)


def test_it_says_what_it_is(make: Make) -> None:
    assert repr(make()).endswith(f"(n_features={N}, beta=0.666667, gamma=-0.1, zeta=1.1)")
    assert make().device == torch.device("cpu")


# Arguments.

BAD: dict[str, list[Any]] = {
    "beta": [0, -1, float("nan"), float("inf"), "warm"],
    "gamma": [0, 0.1, float("nan")],
    "zeta": [1, 0.5, float("inf")],
    "device": ["gpu", "meta", 1.5],
    "seed": [-1, 1.5, "one", True, 2**63],
    "generator": [7, "mine", np.random.default_rng(0)],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_wrong_setting_is_refused_by_name_and_value(make: Make, name: str, value: Any) -> None:
    with pytest.raises(InvalidHyperparameter) as caught:
        make(**({"seed": None} | {name: value}))
    assert caught.value.message.startswith(f"{name} is ")
    assert repr(value) in caught.value.message
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("size", [0, -3, 2.5, "ten", None])
@pytest.mark.parametrize("kind", FAMILY)
def test_a_size_that_is_no_whole_number_above_zero_is_refused(kind: str, size: Any) -> None:
    with pytest.raises(InvalidHyperparameter, match="n_features is"):
        FAMILY[kind](size)


def test_a_seed_and_a_generator_exclude_one_another(make: Make) -> None:
    with pytest.raises(InvalidHyperparameter, match="seed is 1 and a generator is given too"):
        make(seed=1, generator=torch.Generator())


@pytest.mark.parametrize("bad", [0, 1, -0.5, float("nan")])
def test_a_keep_probability_outside_zero_to_one_is_refused_with_its_place(make: Make, bad: float) -> None:
    with pytest.raises(InvalidInput, match=r"init_keep_prob\[0\] is "):
        make(init_keep_prob=bad)
    with pytest.raises(InvalidInput, match=r"init_keep_prob\[4\] is "):
        make(init_keep_prob=np.where(np.arange(N) == 4, bad, 0.5))
    with pytest.raises(InvalidInput, match=r"init_keep_prob has shape \(2,\)"):
        make(init_keep_prob=[0.5, 0.5])


BAD_FITS: dict[str, tuple[dict[str, Any], str]] = {
    "NaN target": ({"y": np.where(np.arange(Q) > 2, np.nan, 1.0)}, r"y\[3\] is nan"),
    "column": ({"y": np.ones((Q, 1))}, r"y has shape \(8, 1\)"),
    "one target": ({"y": [1.0]}, r"y has shape \(1,\)"),
    "scalar": ({"y": 1.0}, r"y has shape \(\)"),
    "words": ({"y": ["a"] * Q}, "y holds <U1"),
    "columns": ({"matrix": np.ones((Q, N + 1))}, rf"has shape \(8, {N + 1}\); it needs {N} columns"),
    "NaN matrix": ({"matrix": np.full((Q, N), np.nan)}, "stored values are NaN"),
    "3-D": ({"matrix": np.ones((2, 2, N))}, "has 3 dimensions"),
    "no matrix": ({"matrix": "matrix"}, "has 0 dimensions"),
    "lr": ({"lr": 0}, "lr is 0"),
    "epochs": ({"epochs": 0}, "epochs is 0"),
    "half an epoch": ({"epochs": 2.5}, "epochs is 2.5"),
    "verbose_freq": ({"verbose_freq": 0}, "verbose_freq is 0"),
    "verbose": ({"verbose": "yes"}, "verbose is 'yes'"),
}


@pytest.mark.parametrize("bad", BAD_FITS)
def test_a_refused_fit_leaves_the_model_untouched(make: Make, bad: str) -> None:
    changed, words = BAD_FITS[bad]
    matrix, totals = _problem()
    given = {"matrix": matrix, "y": totals, "epochs": 5} | changed
    model: Any = make()
    with pytest.raises(ValueError, match=words) as caught:
        model.fit(given.pop("matrix"), given.pop("y"), **given)
    assert isinstance(caught.value, l0core.errors.L0Error)
    assert (_bits(model), model.history.steps) == (_bits(make()), [])
    assert _bits(_fit(model)) == _bits(_fit(make()))


@pytest.mark.parametrize("method", ["predict", "forward"])
def test_a_prediction_over_other_units_is_refused(make: Make, method: str) -> None:
    with pytest.raises(InvalidInput, match=rf"has shape \(8, 3\); it needs {N} columns"):
        getattr(make(), method)(np.ones((Q, 3)))
