"""The one interface of gated modules, and which modules of a model it finds."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from l0core import (
    FeatureGate,
    HardConcrete,
    HybridGate,
    L0Conv2d,
    L0Gate,
    L0Linear,
    SampleGate,
    SparseCalibrationWeights,
    SparseL0Linear,
    SparseMLP,
)
from l0core.errors import InvalidHyperparameter
from l0core.gated import Gated, GatedCount, gated_modules

KINDS: dict[str, Callable[[], Gated]] = {
    "HardConcrete": lambda: HardConcrete(40),
    "L0Gate": lambda: L0Gate(40),
    "SampleGate": lambda: SampleGate(40, 10),
    "FeatureGate": lambda: FeatureGate(40, 10),
    "HybridGate": lambda: HybridGate(40).l0_gate,
    "L0Linear": lambda: L0Linear(8, 5),
    "structured L0Linear": lambda: L0Linear(3, 40, structured=True),
    "L0Conv2d": lambda: L0Conv2d(2, 5, 2),
    "SparseCalibrationWeights": lambda: SparseCalibrationWeights(40),
    "SparseL0Linear": lambda: SparseL0Linear(40),
}


def spread(module: Gated) -> Gated:
    """Put some gates far open, some far closed, and the rest between."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("log_alpha"):
                parameter.copy_(torch.linspace(-6, 6, parameter.numel()).view_as(parameter))
    return module


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_of_the_family_answers_alike(kind: str) -> None:
    module = spread(KINDS[kind]())
    count, expected = module.count(), module.expected_l0()
    assert 0 < count.active < count.total
    assert 0 < expected.item() < 40
    assert module.sum_of_squares().shape == expected.shape == ()
    (slope,) = torch.autograd.grad(expected, next(p for n, p in module.named_parameters() if n.endswith("log_alpha")))
    assert bool((slope > 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_lower_temperature_makes_gates_start_less_likely_open(kind: str) -> None:
    module = KINDS[kind]()
    module.set_temperature(1.0)
    warm = module.expected_l0().item()
    module.set_temperature(0.1)
    assert module.expected_l0().item() < warm


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), float("inf"), "hot"])
def test_every_member_refuses_a_temperature_that_is_none(kind: str, wrong: object) -> None:
    with pytest.raises(InvalidHyperparameter, match="temperature is "):
        KINDS[kind]().set_temperature(wrong)  # type: ignore[arg-type]  # what this test is about


@pytest.mark.parametrize("kind", KINDS)
def test_closing_below_one_half_changes_no_count_and_nothing_reopens_when_it_cools_down(kind: str) -> None:
    module = spread(KINDS[kind]())
    before = module.count()
    module.close_below(0.5)
    assert module.count() == before
    for temperature in (2.0, 0.1):
        module.set_temperature(temperature)
        assert module.count().active <= before.active


@pytest.mark.parametrize("kind", KINDS)
def test_closing_below_almost_one_leaves_only_the_gates_above_it(kind: str) -> None:
    module = spread(KINDS[kind]())
    before = module.count()
    module.close_below(0.99)
    assert 0 < module.count().active < before.active


def test_sparsity_is_the_share_that_is_closed() -> None:
    assert GatedCount(active=1, total=4).sparsity == 0.75
    assert GatedCount(active=4, total=4).sparsity == 0.0
    assert GatedCount(active=0, total=4).sparsity == 1.0


def names(model: nn.Module) -> list[str]:
    return [name for name, _ in gated_modules(model)]


def test_a_layer_is_found_and_its_gates_are_not_found_again() -> None:
    model = nn.Sequential(L0Linear(3, 2), nn.ReLU(), nn.ModuleDict({"gate": L0Gate(2)}))
    assert names(model) == ["0", "2.gate"]


def test_a_model_that_is_itself_gated_is_found_under_the_empty_name() -> None:
    gate = HardConcrete(3)
    assert gated_modules(gate) == [("", gate)]


def test_a_gated_module_held_twice_is_found_once() -> None:
    gate = L0Gate(3)
    assert names(nn.ModuleDict({"first": gate, "second": gate})) == ["first"]


@pytest.mark.parametrize("layer_first", [True, False])
def test_gates_that_a_model_also_holds_by_themselves_are_found_in_their_layer_only(layer_first: bool) -> None:
    layer = L0Linear(3, 2)
    parts: list[tuple[str, nn.Module]] = [("layer", layer), ("gates", layer.gates)]
    model = nn.ModuleDict(dict(parts if layer_first else parts[::-1]))
    assert names(model) == ["layer"]


def test_the_parts_of_what_is_not_gated_itself_are_found() -> None:
    assert names(nn.Sequential(SparseMLP(4, 3, 2), HybridGate(10))) == ["0.fc1", "0.fc2", "0.fc3", "1.l0_gate"]


def test_a_model_without_gates_has_none() -> None:
    assert gated_modules(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))) == []


@pytest.mark.parametrize("wrong", [None, "model", [L0Gate(2)], L0Gate])
def test_what_is_no_module_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(InvalidHyperparameter, match="model is ") as refusal:
        gated_modules(wrong)  # type: ignore[arg-type]  # what this test is about
    assert repr(wrong) in str(refusal.value)
    assert refusal.value.pointer == "/model"
