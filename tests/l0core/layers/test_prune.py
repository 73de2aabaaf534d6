"""`prune_model`: what it closes, for how long, and what it leaves alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from l0core.calibration import SparseCalibrationWeights
from l0core.distributions import HardConcrete
from l0core.errors import InvalidHyperparameter
from l0core.gates import L0Gate
from l0core.layers import L0Linear, prune_model
from tests.l0core.layers.gated_nets import KINDS, a_layer, all_gates, an_input, randn, seeded


def spread(model: nn.Module, seed: int = 3) -> nn.Module:
    """Put the gates of `model` anywhere between closed and open."""
    for gates in all_gates(model):
        gates.log_alpha.data.normal_(-1, 3, generator=seeded(seed))
    return model


def test_it_works_in_place_and_gives_the_model() -> None:
    net = nn.Sequential(L0Linear(4, 3))
    assert prune_model(net) is net


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_behind_a_gate_below_the_threshold_become_zero_and_no_others(kind: str) -> None:
    layer = a_layer(kind)
    spread(layer)
    assert layer.bias is not None
    below = layer.gates.get_active_prob().detach() < 0.3
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    prune_model(layer, threshold=0.3)
    gone = below.view(-1, 1).expand(-1, weight[0].numel()) if layer.structured else below
    expected = torch.where(gone.reshape(weight.shape), 0.0, weight)
    assert 0 < int(below.sum()) < below.numel()
    assert torch.equal(layer.weight, expected)
    assert torch.equal(layer.bias, torch.where(below, 0.0, bias) if layer.structured else bias)


@settings(deadline=None, max_examples=25)
@given(kind=st.sampled_from(KINDS), threshold=st.floats(1e-6, 0.5), seed=st.integers(0, 1000))
def test_a_threshold_up_to_one_half_changes_no_output_at_test_time(kind: str, threshold: float, seed: int) -> None:
    layer = a_layer(kind).eval()
    spread(layer, seed)
    x = an_input(layer)
    before, sparsity = layer(x), layer.get_sparsity()
    prune_model(layer, threshold)
    assert torch.equal(before, layer(x))
    assert layer.get_sparsity() == sparsity


def test_a_threshold_above_one_half_closes_gates_that_were_open() -> None:
    layer = a_layer("linear")
    layer.gates.log_alpha.data.fill_(layer.gates.shape.threshold + math.log(0.6 / 0.4))
    assert layer.get_sparsity() == 0
    assert prune_model(layer, 0.59) is layer
    assert layer.get_sparsity() == 0
    prune_model(layer, 0.61)
    assert layer.get_sparsity() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pruned_stays_closed_while_training_goes_on(kind: str) -> None:
    layer = a_layer(kind)
    spread(layer)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    x = an_input(layer)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            (layer(x) - 3).square().mean().backward()
            optimiser.step()

    train(5)
    prune_model(layer, threshold=0.4)
    closed = layer.gates.deterministic() == 0
    pruned = layer.gates.get_active_prob() < 1e-6
    assert 0 < int(pruned.sum()) < pruned.numel()
    before = layer.gates.log_alpha.clone()
    train(25)
    assert bool((layer.gates.deterministic()[pruned & closed] == 0).all())
    assert bool((layer.gates.get_active_prob()[pruned] < 1e-6).all())
    assert not torch.equal(before[~pruned], layer.gates.log_alpha[~pruned])


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5, math.nan, math.inf, True, "0.1", None])
def test_a_threshold_that_is_no_probability_is_refused(threshold: object) -> None:
    net = nn.Sequential(L0Linear(4, 3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(InvalidHyperparameter, match=f"threshold is {threshold!r}") as refusal:
        prune_model(net, threshold)  # type: ignore[arg-type]  # wrong on purpose
    assert isinstance(refusal.value, ValueError)
    assert refusal.value.pointer == "/threshold"
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Nested(nn.Module):
    """Gated parts at every depth, alone and inside others, in lists and dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Sequential(nn.ModuleList([L0Linear(4, 3)]), nn.ReLU()))
        self.named = nn.ModuleDict({"layer": L0Linear(4, 3, structured=True)})
        self.gate = L0Gate(5)
        self.alone = HardConcrete(5)
        self.calibration = SparseCalibrationWeights(5, seed=1)
        self.plain = nn.Linear(4, 3)


def test_it_reaches_every_gate_of_a_model_at_any_depth() -> None:
    net = Nested()
    plain = net.plain.weight.clone()
    for name, parameter in net.named_parameters():
        if name.endswith("log_alpha"):
            parameter.data.fill_(-6.0)
    prune_model(net)
    gates = [parameter for name, parameter in net.named_parameters() if name.endswith("log_alpha")]
    assert len(gates) == 5
    assert all(bool((log_alpha < -15).all()) for log_alpha in gates)
    assert torch.equal(plain, net.plain.weight)


def test_a_gate_that_stands_alone_is_closed_below_the_threshold() -> None:
    for gate, log_alpha in ((alone := HardConcrete(4), alone.log_alpha), (single := L0Gate(4), single.gates.log_alpha)):
        log_alpha.data.copy_(torch.tensor([-9.0, 5.0, -9.0, 5.0]))
        prune_model(gate)
        assert (log_alpha > -15).tolist() == [False, True, False, True]


def test_a_model_without_gates_stays_as_it_is() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert prune_model(net) is net
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_pruning_twice_is_pruning_once() -> None:
    net = spread(nn.Sequential(a_layer("structured convolution"), a_layer("depthwise convolution")))
    once = {name: value.clone() for name, value in prune_model(net).state_dict().items()}
    assert all(torch.equal(value, once[name]) for name, value in prune_model(net).state_dict().items())


def test_the_global_generators_are_left_alone() -> None:
    torch_before, numpy_before = torch.get_rng_state(), str(np.random.get_state())
    prune_model(nn.Sequential(a_layer("linear")))(randn(5, 4))
    assert torch.equal(torch_before, torch.get_rng_state())
    assert numpy_before == str(np.random.get_state())
