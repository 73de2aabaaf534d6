"""Penalties and counts over whole models: everything once, gates never taken for weights."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l0core import (
    FeatureGate,
    HardConcrete,
    HybridGate,
    L0Conv2d,
    L0DepthwiseConv2d,
    L0Gate,
    L0Linear,
    SampleGate,
    SparseCalibrationWeights,
    SparseL0Linear,
    SparseMLP,
    compute_l0_penalty,
    compute_l0l2_penalty,
    compute_l2_penalty,
    get_active_parameter_count,
    get_sparsity_stats,
)
from l0core.errors import InvalidHyperparameter
from l0core.penalties import sparsity

KINDS: dict[str, Callable[[], nn.Module]] = {
    "L0Linear": lambda: L0Linear(4, 3),
    "structured L0Linear": lambda: L0Linear(4, 3, structured=True),
    "L0Conv2d": lambda: L0Conv2d(2, 3, 3),
    "structured L0Conv2d": lambda: L0Conv2d(2, 3, 3, structured=True),
    "L0DepthwiseConv2d": lambda: L0DepthwiseConv2d(3, 3),
    "SparseMLP": lambda: SparseMLP(4, 3, 2),
    "HardConcrete": lambda: HardConcrete(5),
    "HardConcrete in a matrix": lambda: HardConcrete(5, 2),
    "L0Gate": lambda: L0Gate(6),
    "SampleGate": lambda: SampleGate(7, 2),
    "FeatureGate": lambda: FeatureGate(8, 3),
    "HybridGate": lambda: HybridGate(9),
    "SparseCalibrationWeights": lambda: SparseCalibrationWeights(10, init_weights=2.0),
    "SparseL0Linear": lambda: SparseL0Linear(11),
}


def locations(model: nn.Module) -> list[Tensor]:
    return [parameter for name, parameter in model.named_parameters() if name.endswith("log_alpha")]


def expected_open(model: nn.Module) -> float:
    """Add P(z > 0) over the modules that hold locations, by the formula."""
    total = 0.0
    for module in model.modules():
        if isinstance(module, HardConcrete | SparseCalibrationWeights | SparseL0Linear):
            beta = module.temperature if isinstance(module, HardConcrete) else module.beta
            for a in module.log_alpha.detach().double().flatten().tolist():
                total += 1 / (1 + math.exp(-(a - beta * math.log(-module.gamma / module.zeta))))
    return total


def set_locations(model: nn.Module, low: float = -5, high: float = 5) -> nn.Module:
    with torch.no_grad():
        for a in locations(model):
            a.copy_(torch.linspace(low, high, a.numel()).view_as(a))
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nested", [True, False])
def test_the_l0_penalty_is_the_sum_of_all_probabilities(kind: str, nested: bool) -> None:
    module = set_locations(KINDS[kind]())
    model = nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"part": module})) if nested else module
    penalty = compute_l0_penalty(model)
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx(expected_open(module), rel=1e-5)
    assert 0 < penalty.item() < sum(a.numel() for a in locations(module))


def test_the_l0_penalty_of_a_model_is_the_sum_over_its_parts() -> None:
    parts = nn.ModuleDict({name: make() for name, make in KINDS.items()})
    assert compute_l0_penalty(parts).item() == pytest.approx(
        sum(compute_l0_penalty(part).item() for part in parts.values()), rel=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_held_twice_pays_once(kind: str) -> None:
    module = KINDS[kind]()
    twice = nn.ModuleDict({"first": module, "again": module})
    assert compute_l0_penalty(twice).item() == compute_l0_penalty(module).item()
    assert compute_l2_penalty(twice).item() == compute_l2_penalty(module).item()
    assert get_active_parameter_count(twice) == get_active_parameter_count(module)


def test_gates_that_a_model_also_holds_by_themselves_pay_once() -> None:
    layer = L0Linear(4, 3)
    for parts in ([layer, layer.gates], [layer.gates, layer]):
        model = nn.ModuleList(parts)
        assert compute_l0_penalty(model).item() == compute_l0_penalty(layer).item()
        assert compute_l2_penalty(model).item() == compute_l2_penalty(layer).item()
        assert get_active_parameter_count(model) == get_active_parameter_count(layer)


def squares(model: nn.Module) -> float:
    """Add the squares of all weights by hand: no locations, calibrated weights as weights, intercepts left out."""
    total = 0.0
    for name, parameter in model.named_parameters():
        values = parameter.detach().double()
        if name.endswith("log_weight"):
            total += float(torch.exp(2 * values).sum())
        elif not name.endswith("log_alpha"):
            total += float(values.square().sum())
    return total


def filled_with_ones(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("weight", "bias")) and not name.endswith("log_weight"):
                parameter.copy_(torch.arange(1.0, 1 + parameter.numel()).view_as(parameter))
    return model


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "SparseL0Linear"])
@pytest.mark.parametrize("place", [-5.0, 5.0])
def test_the_l2_penalty_is_that_of_the_weights_wherever_the_gates_are(kind: str, place: float) -> None:
    model = filled_with_ones(nn.Sequential(nn.Linear(2, 2), KINDS[kind]()))
    set_locations(model, place, place)
    assert compute_l2_penalty(model).item() == pytest.approx(squares(model), rel=1e-5)


def test_an_intercept_is_no_weight_of_a_regression() -> None:
    model = SparseL0Linear(3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([1.0, -2.0, 3.0]))
        model.bias.fill_(100.0)  # type: ignore[union-attr]  # there is one: fit_intercept is True
    assert compute_l2_penalty(model).item() == 14.0


def test_calibrated_weights_enter_as_weights() -> None:
    assert compute_l2_penalty(SparseCalibrationWeights(3, init_weights=[1.0, 2.0, 3.0])).item() == pytest.approx(14)
    assert compute_l2_penalty(nn.Sequential(SparseCalibrationWeights(2, init_weights=[0.0, 2.0]))).item() == (
        pytest.approx(4)
    )


def test_over_plain_modules_the_l2_penalty_is_the_sum_of_squares() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Conv1d(1, 2, 3), nn.PReLU())
    assert compute_l2_penalty(model).item() == pytest.approx(squares(model), rel=1e-5)


def test_a_parameter_that_two_modules_share_is_squared_once() -> None:
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    assert compute_l2_penalty(nn.Sequential(first, second)).item() == pytest.approx(squares(first), rel=1e-5)
    layer = L0Linear(3, 3, bias=False)
    first.weight = layer.weight
    assert compute_l2_penalty(nn.Sequential(first, layer)).item() == pytest.approx(squares(layer), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_penalties_are_the_same_in_both_modes(training: bool) -> None:
    model = set_locations(nn.Sequential(L0Linear(4, 3), SparseCalibrationWeights(5), L0Gate(3)))
    fixed = compute_l0_penalty(model).item(), compute_l2_penalty(model).item()
    model.train(training)
    assert (compute_l0_penalty(model).item(), compute_l2_penalty(model).item()) == fixed


def test_each_penalty_reaches_its_own_parameters() -> None:
    model = nn.Sequential(L0Linear(4, 3), SparseCalibrationWeights(5, init_weights=2.0), L0Gate(3), nn.Linear(2, 2))
    where = dict(model.named_parameters())
    gates = {name for name in where if name.endswith("log_alpha")}
    for penalty, reached in ((compute_l0_penalty, gates), (compute_l2_penalty, set(where) - gates)):
        slopes = torch.autograd.grad(penalty(model), list(where.values()), allow_unused=True)
        assert {name for name, slope in zip(where, slopes, strict=True) if slope is not None} == reached
        assert all(bool(torch.isfinite(slope).all()) for slope in slopes if slope is not None)


def test_both_together_are_a_weighted_sum_with_the_known_prices() -> None:
    model = nn.Sequential(L0Linear(4, 3), nn.Linear(3, 2))
    l0, l2 = compute_l0_penalty(model).item(), compute_l2_penalty(model).item()
    assert compute_l0l2_penalty(model).item() == pytest.approx(1e-3 * l0 + 1e-4 * l2)
    assert compute_l0l2_penalty(model, 2.0, 3.0).item() == pytest.approx(2 * l0 + 3 * l2)
    assert compute_l0l2_penalty(model, l0_lambda=0, l2_lambda=0).item() == 0
    defaults = {name: p.default for name, p in inspect.signature(compute_l0l2_penalty).parameters.items()}
    assert defaults == {"model": inspect.Parameter.empty, "l0_lambda": 1e-3, "l2_lambda": 1e-4}


@pytest.mark.parametrize("name", ["l0_lambda", "l2_lambda"])
@pytest.mark.parametrize("price", [-1e-9, float("nan"), float("inf"), "dear", None])
def test_a_price_that_is_none_is_refused_with_its_name_and_its_value(name: str, price: object) -> None:
    prices: dict[str, Any] = {name: price}
    with pytest.raises(InvalidHyperparameter) as refusal:
        compute_l0l2_penalty(L0Gate(3), **prices)
    assert str(refusal.value).startswith(f"{name} is {price!r}; it must be a number")


def test_closing_gates_lowers_the_price_and_training_on_it_closes_them() -> None:
    gate = L0Gate(20)
    step = torch.optim.Adam(gate.parameters(), lr=0.2)
    before = compute_l0_penalty(gate).item()
    for _ in range(60):
        step.zero_grad()
        torch.autograd.backward(compute_l0l2_penalty(gate))
        step.step()
    assert compute_l0_penalty(gate).item() < 0.1 * before
    assert get_active_parameter_count(gate) == 0


def test_the_statistics_name_every_gated_module_and_say_how_much_of_it_is_closed() -> None:
    layer, channels, gate = L0Linear(4, 3), L0Linear(4, 2, structured=True), L0Gate(4)
    model = nn.Sequential(layer, nn.ReLU(), nn.ModuleDict({"channels": channels, "gate": gate}))
    with torch.no_grad():
        for module, closed in ((layer, 9), (channels, 1), (gate, 4)):
            a = module.gates.log_alpha.view(-1)
            a.copy_(torch.where(torch.arange(a.numel()) < closed, -5.0, 5.0))
    stats = get_sparsity_stats(model)
    assert list(stats) == ["0", "2.channels", "2.gate"]
    assert stats["0"] == {"sparsity": 0.75, "active_params": 3, "total_params": 12}
    assert stats["2.channels"] == {"sparsity": 0.5, "active_params": 5, "total_params": 10}  # with one bias each
    assert stats["2.gate"] == {"sparsity": 1.0, "active_params": 0, "total_params": 4}
    assert get_active_parameter_count(model) == 8
    assert sparsity(model) == pytest.approx(1 - 8 / 26)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_count_and_sparsity_agree_on_every_kind(kind: str) -> None:
    model = set_locations(nn.Sequential(KINDS[kind]()))
    stats = get_sparsity_stats(model)
    active, total = (sum(s[key] for s in stats.values()) for key in ("active_params", "total_params"))
    assert get_active_parameter_count(model) == active
    assert 0 < active < total
    assert sparsity(model) == pytest.approx(1 - active / total)
    for s in stats.values():
        assert s["sparsity"] == pytest.approx(1 - s["active_params"] / s["total_params"])


def test_statistics_do_not_depend_on_the_mode_or_on_a_draw() -> None:
    model = set_locations(nn.Sequential(L0Linear(4, 3), L0Gate(7)), -1, 1)
    training = get_sparsity_stats(model)
    assert get_sparsity_stats(model) == training == get_sparsity_stats(model.eval())


def test_a_model_without_gates_has_no_l0_penalty_no_statistics_and_is_not_sparse() -> None:
    model = nn.Linear(3, 2)
    assert compute_l0_penalty(model).item() == 0
    assert get_sparsity_stats(model) == {}
    assert get_active_parameter_count(model) == 0
    assert sparsity(model) == 0


def test_a_model_without_parameters_has_no_penalty() -> None:
    assert compute_l0_penalty(nn.ReLU()).item() == 0
    assert compute_l2_penalty(nn.ReLU()).item() == 0
    assert compute_l0l2_penalty(nn.Sequential()).item() == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_of_another_float_type_has_penalties_of_that_type(dtype: torch.dtype) -> None:
    model = nn.Sequential(L0Linear(4, 3), L0Gate(3), nn.Linear(3, 2)).to(dtype)
    for penalty in (compute_l0_penalty, compute_l2_penalty, compute_l0l2_penalty):
        assert penalty(model).dtype == dtype
        assert math.isfinite(penalty(model).item())


FUNCTIONS: list[Callable[[Any], object]] = [
    compute_l0_penalty,
    compute_l2_penalty,
    compute_l0l2_penalty,
    get_sparsity_stats,
    get_active_parameter_count,
    sparsity,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("wrong", [None, 3, "net", [L0Gate(2)], L0Gate])
def test_what_is_no_module_is_refused_by_name(function: Callable[[Any], object], wrong: object) -> None:
    with pytest.raises(InvalidHyperparameter) as refusal:
        function(wrong)
    assert str(refusal.value) == f"model is {wrong!r}; it must be a torch.nn.Module"
