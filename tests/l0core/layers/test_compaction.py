"""`compact` answers as the network did, over random chains of layers and over the cases known by hand."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from l0core.distributions import HardConcrete
from l0core.gated import gated_modules
from l0core.gates import L0Gate
from l0core.layers import GatedLayer, L0Conv2d, L0DepthwiseConv2d, L0Linear, compact, prune_model
from tests.l0core.layers.chains import Chain, feature_chains, image_chains
from tests.l0core.layers.gated_nets import (
    KINDS,
    a_layer,
    an_input,
    answers_alike,
    close,
    close_inputs,
    close_weights_only,
    n_weights,
    opened,
    randn,
    shapes,
    two_convolutions,
    two_linears,
)

ANY_CHAIN = feature_chains() | image_chains()


def size_of(outputs: Tensor) -> float:
    return 1 + outputs.detach().abs().max().item()


@settings(deadline=None, max_examples=80)
@given(chain=ANY_CHAIN)
def test_the_outputs_are_those_of_the_network_at_test_time(chain: Chain) -> None:
    small, expected = compact(chain.net), chain.net.eval()(chain.x)
    torch.testing.assert_close(small(chain.x), expected, rtol=1e-10, atol=1e-10 * size_of(expected))


@settings(deadline=None, max_examples=30)
@given(chain=feature_chains(dtype=torch.float32) | image_chains(dtype=torch.float32))
def test_in_float32_they_are_so_to_its_rounding(chain: Chain) -> None:
    small, expected = compact(chain.net), chain.net.eval()(chain.x)
    assert all(parameter.dtype == torch.float32 for parameter in small.parameters())
    torch.testing.assert_close(small(chain.x), expected, rtol=1e-4, atol=1e-5 * size_of(expected))


@settings(deadline=None, max_examples=30)
@given(chain=ANY_CHAIN)
def test_no_parameter_grows_but_the_bias_that_a_layer_without_one_gains(chain: Chain) -> None:
    small = compact(chain.net)
    for before, after in zip(chain.net.children(), small.children(), strict=True):
        had, has = dict(before.named_parameters()), dict(after.named_parameters())
        gained = len(has["bias"]) if "bias" in has and "bias" not in had else 0
        assert n_weights(after) <= n_weights(before) + gained
        assert not gained or (isinstance(after, nn.Linear | nn.Conv2d) and gained <= len(had["weight"]))


@settings(deadline=None, max_examples=30)
@given(chain=ANY_CHAIN)
def test_no_gated_layer_is_left_and_the_result_is_in_eval_mode(chain: Chain) -> None:
    small = compact(chain.net)
    assert list(gated_modules(small)) == []
    assert not any(module.training for module in small.modules())


@settings(deadline=None, max_examples=30)
@given(chain=ANY_CHAIN)
def test_one_pass_finds_everything(chain: Chain) -> None:
    small = compact(chain.net)
    assert shapes(compact(small)) == shapes(small)


@settings(deadline=None, max_examples=30)
@given(chain=ANY_CHAIN, training=st.booleans())
def test_the_network_itself_stays_as_it_is(chain: Chain, training: bool) -> None:
    chain.net.train(training)
    before = copy.deepcopy(chain.net.state_dict())
    attributes = {name: set(vars(module)) for name, module in chain.net.named_modules()}
    small = compact(chain.net)
    for parameter in small.parameters():
        parameter.data.fill_(7.0)
    assert all(torch.equal(value, before[name]) for name, value in chain.net.state_dict().items())
    assert all(module.training == training for module in chain.net.modules())
    assert {name: set(vars(module)) for name, module in chain.net.named_modules()} == attributes


@settings(deadline=None, max_examples=30)
@given(chain=ANY_CHAIN, threshold=st.sampled_from([0.05, 0.5]))
def test_pruning_first_changes_nothing(chain: Chain, threshold: float) -> None:
    direct = compact(chain.net)
    pruned = compact(prune_model(chain.net, threshold))
    assert shapes(direct) == shapes(pruned)
    torch.testing.assert_close(direct(chain.x), pruned(chain.x))


def test_a_closed_hidden_unit_is_removed() -> None:
    net = two_linears(nn.ReLU())
    close(net[0], 1, 2)
    small = answers_alike(net, randn(5, 3))
    assert shapes(small) == {"0": (2, 3), "2": (2, 2)}
    assert torch.equal(small.get_parameter("0.weight"), net.get_parameter("0.weight")[[0, 3]])


def test_a_constant_unit_joins_the_next_bias() -> None:
    net = two_linears(nn.Sigmoid())
    close_weights_only(net[0], 1)
    small = answers_alike(net, randn(5, 3))
    assert shapes(small) == {"0": (3, 3), "2": (2, 3)}
    moved = net.get_parameter("2.weight")[:, 1] * torch.sigmoid(torch.tensor(2.0))
    torch.testing.assert_close(small.get_parameter("2.bias"), net.get_parameter("2.bias") + moved)


def test_a_layer_without_bias_gains_one_for_a_constant_and_none_for_a_zero() -> None:
    zero = two_linears(nn.ReLU(), bias=False)
    close(zero[0], 1)
    assert answers_alike(zero, randn(5, 3)).get_submodule("2").bias is None
    constant = two_linears(nn.Sigmoid(), bias=False)
    close(constant[0], 1)  # sigmoid(0) is 1/2
    assert answers_alike(constant, randn(5, 3)).get_submodule("2").bias is not None


def test_a_unit_that_nobody_reads_is_removed_and_so_are_those_only_it_reads() -> None:
    net = nn.Sequential(L0Linear(3, 4), nn.Tanh(), L0Linear(4, 5), nn.Tanh(), L0Linear(5, 2))
    opened(net)
    close_inputs(net[4], 0, 3)
    close_inputs(net[2], 1)
    assert isinstance(net[2], L0Linear)
    net[2].gates.log_alpha.data[[1, 2, 4], 2] = -9.0  # unit 2 of the first layer is read by 0 and 3 only
    small = answers_alike(net, randn(5, 3))
    assert shapes(small) == {"0": (2, 3), "2": (3, 2), "4": (2, 3)}


def test_constants_are_followed_from_layer_to_layer() -> None:
    net = nn.Sequential(L0Linear(3, 3), nn.Sigmoid(), L0Linear(3, 3), nn.Sigmoid(), L0Linear(3, 2))
    opened(net)
    close(net[0], 0)
    assert isinstance(net[2], L0Linear)
    net[2].gates.log_alpha.data[1, 1:] = -9.0  # unit 1 of the second layer reads the constant only
    small = answers_alike(net, randn(5, 3))
    assert shapes(small) == {"0": (2, 3), "2": (2, 2), "4": (2, 2)}


def test_a_constant_channel_joins_the_next_bias_but_not_at_a_padded_border() -> None:
    for padding, kept in ((0, 3), (1, 4)):
        net = two_convolutions(nn.Sigmoid(), padding=padding)
        close(net[0], 1)
        assert shapes(answers_alike(net, randn(2, 2, 8, 8))) == {"0": (kept, 2, 3, 3), "2": (3, kept, 3, 3)}


def test_a_channel_that_is_zero_goes_at_a_padded_border_too() -> None:
    net = two_convolutions(nn.ReLU(), padding=1)
    close(net[0], 0, 1)
    assert shapes(answers_alike(net, randn(2, 2, 8, 8))) == {"0": (2, 2, 3, 3), "2": (3, 2, 3, 3)}


def test_the_normalisation_between_two_layers_shrinks_and_shifts_the_constant() -> None:
    net = two_convolutions(nn.BatchNorm2d(4), nn.ReLU())
    norm = net[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.bias.data.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    norm.running_mean = torch.tensor([0.1, 0.2, 0.3, 0.4])
    close(net[0], 1)
    small = answers_alike(net, randn(2, 2, 8, 8))
    shrunk = small.get_submodule("1")
    assert isinstance(shrunk, nn.BatchNorm2d)
    assert shrunk.num_features == 3
    assert torch.equal(shrunk.bias, torch.tensor([1.0, 3.0, 4.0]))
    assert torch.equal(small.get_buffer("1.running_mean"), torch.tensor([0.1, 0.3, 0.4]))


@pytest.mark.parametrize("gated", [True, False])
def test_a_depthwise_convolution_between_two_layers_shrinks(gated: bool) -> None:
    depthwise = L0DepthwiseConv2d(4, 3, padding=1) if gated else nn.Conv2d(4, 4, 3, padding=1, groups=4)
    net = two_convolutions(nn.ReLU(), depthwise)
    close(net[0], 3)
    small = answers_alike(net, randn(2, 2, 8, 8))
    layer = small.get_submodule("2")
    assert isinstance(layer, nn.Conv2d)
    assert (layer.groups, layer.in_channels, layer.out_channels) == (3, 3, 3)


def test_a_closed_channel_of_a_depthwise_convolution_takes_the_channel_before_it_along() -> None:
    net = nn.Sequential(L0Conv2d(2, 4, 3), nn.ReLU(), L0DepthwiseConv2d(4, 3), nn.ReLU(), L0Conv2d(4, 3, 1))
    opened(net)
    close(net[2], 0, 2)
    assert shapes(answers_alike(net, randn(2, 2, 8, 8))) == {"0": (2, 2, 3, 3), "2": (2, 1, 3, 3), "4": (3, 2, 1, 1)}


def test_a_flattened_channel_takes_all_its_places_along() -> None:
    net = nn.Sequential(L0Conv2d(2, 4, 3, structured=True), nn.MaxPool2d(2), nn.Flatten(), L0Linear(4 * 9, 5))
    opened(net)
    close(net[0], 1)
    assert shapes(answers_alike(net, randn(2, 2, 8, 8))) == {"0": (3, 2, 3, 3), "3": (5, 27)}


def test_torch_s_own_layers_between_gated_ones_shrink_too() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), L0Linear(4, 4, structured=True), nn.ReLU(), nn.Linear(4, 2))
    opened(net)
    close(net[2], 0)
    net.get_parameter("2.weight").data[:, 3] = 0  # nobody reads unit 3 of the first layer
    assert shapes(answers_alike(net, randn(5, 3))) == {"0": (3, 3), "2": (3, 3), "4": (2, 3)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_gated_layer_alone_becomes_torch_s_own_layer(kind: str) -> None:
    layer = a_layer(kind)
    close(layer, 0)
    small = answers_alike(layer, an_input(layer))
    assert type(small) in (nn.Linear, nn.Conv2d)
    assert not small.training


@pytest.mark.parametrize("net", [nn.Linear(3, 2), nn.Conv2d(1, 2, 3), nn.ReLU(), L0Gate(3), HardConcrete(3)])
def test_a_model_with_nothing_to_remove_is_copied(net: nn.Module) -> None:
    same = compact(net)
    assert same is not net
    assert type(same) is type(net)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in same.state_dict().items())


@pytest.mark.parametrize("bias", [True, False])
def test_with_every_channel_closed_each_layer_keeps_one(bias: bool) -> None:
    net = nn.Sequential(
        L0Conv2d(2, 4, 3, bias=bias, structured=True),
        nn.BatchNorm2d(4),
        nn.Sigmoid(),
        nn.Flatten(),
        L0Linear(4 * 36, 5, bias, structured=True),
        nn.ReLU(),
        L0Linear(5, 2, bias),
    )
    for _, layer in gated_modules(net):
        assert isinstance(layer, GatedLayer)
        layer.gates.log_alpha.data.fill_(-9.0)
    small = answers_alike(net, randn(2, 2, 8, 8))
    assert shapes(small) == {"0": (1, 2, 3, 3), "4": (1, 36), "6": (2, 1)}


def test_a_gate_that_stands_alone_stays_one_and_stops_the_search() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.gate, self.second = L0Linear(3, 4, structured=True), L0Gate(4), L0Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.second(self.gate(self.first(x), 1))
            return scores

    net = Net()
    close(net.first, 1)
    small = answers_alike(net, randn(5, 3))
    assert [name for name, _ in gated_modules(small)] == ["gate"]
    assert shapes(small) == {"first": (4, 3), "second": (2, 4)}


def smaller() -> nn.Module:
    net = two_convolutions(nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
    close(net[0], 1)
    return compact(net)


def test_it_can_be_trained() -> None:
    net = smaller().train()
    before = copy.deepcopy(net.state_dict())
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        net(randn(2, 2, 8, 8)).square().mean().backward()
        optimiser.step()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert not any(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_it_can_be_saved_loaded_pickled_and_copied() -> None:
    net, x = smaller(), randn(2, 2, 8, 8)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = smaller()
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict(torch.load(file, weights_only=True))
    for twin in (other, pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert torch.equal(twin(x), net(x))


def test_the_global_generators_are_left_alone() -> None:
    net = two_convolutions(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    close(net[0], 1)
    torch_before, numpy_before = torch.get_rng_state(), str(np.random.get_state())
    compact(net)
    assert torch.equal(torch_before, torch.get_rng_state())
    assert numpy_before == str(np.random.get_state())
