"""What a layer keeps when it becomes plain or smaller: what was frozen, shared, hooked or not its own class."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from l0core.gated import gated_modules
from l0core.layers import L0Linear, compact
from l0core.layers.solid import solid_layers
from tests.l0core.layers.gated_nets import Pair, answers_alike, close, randn, shapes, two_linears


def test_what_was_frozen_stays_frozen() -> None:
    net = two_linears(nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
    frozen = {"0.weight", "1.bias", "3.weight", "4.bias"}
    for name in frozen:
        net.get_parameter(name).requires_grad_(False)
    close(net[0], 1)
    small = answers_alike(net, randn(5, 3))
    assert shapes(small)["0"] == (3, 3)
    assert {name for name, parameter in small.named_parameters() if not parameter.requires_grad} == frozen


class TiedWeights(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 3), nn.Linear(3, 7)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.relu(super().forward(self.embedding(x))))
        return scores


def test_layers_that_share_their_weights_go_on_sharing_them() -> None:
    net = TiedWeights()
    close(net.second, 0)
    small = answers_alike(net, torch.tensor([1, 2, 6]))
    assert small.get_parameter("head.weight") is small.get_parameter("embedding.weight")
    assert small.get_parameter("head.weight").shape == (7, 3)
    assert small.get_parameter("second.weight").shape == (3, 2)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("before", [True, False])
def test_a_hook_stays_and_keeps_the_units_it_sees(index: int, before: bool) -> None:
    net = two_linears(nn.ReLU())
    close(net[0], 1)
    if before:
        net[index].register_forward_pre_hook(lambda _module, inputs: (inputs[0].flip(1) + 1,))
    else:
        net[index].register_forward_hook(lambda _module, _inputs, output: output.flip(1) + 1)
    small = answers_alike(net, randn(5, 3))
    assert shapes(small) == {"0": (4, 3), "2": (2, 4)}
    assert list(gated_modules(small)) == []


def test_the_hooks_of_a_layer_that_is_the_whole_model_stay_and_are_its_own() -> None:
    layer = L0Linear(3, 2)
    layer.register_forward_pre_hook(lambda _module, inputs: (inputs[0] + 1,))
    small = answers_alike(layer, randn(5, 3))
    small.register_forward_hook(lambda _module, _inputs, output: output * 0)
    assert bool(layer(randn(5, 3)).any())


def test_a_step_whose_forward_was_replaced_keeps_the_units_it_sees() -> None:
    net = two_linears(nn.ReLU())
    close(net[0], 1)
    net[1].forward = lambda x: x.flip(1)  # what some libraries do to add hooks
    assert shapes(answers_alike(net, randn(5, 3))) == {"0": (4, 3), "2": (2, 4)}


def test_parametrized_and_masked_modules_of_torch_stay_as_they_are() -> None:
    net = two_linears(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    parametrizations.weight_norm(net[1], dim=0)
    parametrizations.weight_norm(net[2])
    prune.l1_unstructured(net[4], "weight", 0.5)  # type: ignore[no-untyped-call]  # torch's own
    with torch.no_grad():
        net(randn(5, 3))  # torch's own pruning copies only after a pass without gradients
    close(net[0], 1)
    small = answers_alike(net, randn(5, 3))
    assert {name for name, _ in small.named_parameters()} - {"0.weight", "0.bias", "5.weight", "5.bias"} == {
        name for name, _ in net.named_parameters() if name[0] in "124"
    }


class Doubled(L0Linear):
    """A gated layer of one's own, which says what it is without gates."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name
        return 2 * super().forward(input)

    def plain(self, weight: Tensor, bias: Tensor | None) -> nn.Linear:
        return super().plain(2 * weight, None if bias is None else 2 * bias)


def test_a_subclass_of_a_gated_layer_becomes_what_it_says_and_keeps_its_size() -> None:
    net = nn.Sequential(Doubled(3, 4, structured=True), nn.Sigmoid(), Doubled(4, 2))
    net.get_parameter("0.bias").data.fill_(1.0)
    close(net[0], 1)
    small = answers_alike(net, randn(5, 3))
    assert shapes(small) == {"0": (4, 3), "2": (2, 4)}
    assert list(gated_modules(small)) == []


class OwnLinear(nn.Linear):
    """A layer of one's own that does more than torch's."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name
        return super().forward(input).flip(-1)


def test_a_subclass_of_torch_s_layer_stays_as_it_is() -> None:
    net = two_linears(nn.ReLU(), OwnLinear(4, 4), nn.ReLU())
    close(net[0], 1)
    small = answers_alike(net, randn(5, 3))
    assert isinstance(small.get_submodule("2"), OwnLinear)
    assert shapes(small)["2"] == (4, 4)
    assert set(solid_layers(net)) == {"0", "4"}


def test_a_plain_layer_that_loses_nothing_is_copied_with_the_network_and_not_made_anew() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Softmax(1), nn.Linear(4, 2))
    net.get_submodule("0").tag = "mine"  # type: ignore[assignment]  # what a user may put there
    small = compact(net)
    assert vars(small.get_submodule("0"))["tag"] == "mine"
