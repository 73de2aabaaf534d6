"""Layers and networks with known gates, for the tests of this folder."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from l0core.distributions import HardConcrete
from l0core.layers import GatedLayer, L0Conv2d, L0DepthwiseConv2d, L0Linear, compact

FAR = 9.0  # this far from 0 a gate of the tests is open or closed in every draw that matters


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def every_layer(**settings: bool) -> dict[str, GatedLayer]:
    """One layer of each kind, with gates enough that no two draws are alike; `an_input` fits."""
    return {
        "linear": L0Linear(4, 30, generator=seeded(), **settings),
        "structured linear": L0Linear(4, 30, structured=True, generator=seeded(), **settings),
        "convolution": L0Conv2d(2, 30, 3, generator=seeded(), **settings),
        "structured convolution": L0Conv2d(2, 30, 3, structured=True, generator=seeded(), **settings),
        "depthwise convolution": L0DepthwiseConv2d(30, 3, generator=seeded(), **settings),
    }


KINDS = tuple(every_layer())
STRUCTURED = tuple(kind for kind, layer in every_layer().items() if layer.structured)


def a_layer(kind: str, **settings: bool) -> GatedLayer:
    """A layer whose bias, where there is one, is not 0."""
    layer = every_layer(**settings)[kind]
    if layer.bias is not None:
        layer.bias.data.copy_(1 + torch.arange(len(layer.bias)))
    return layer


def an_input(layer: GatedLayer) -> Tensor:
    if isinstance(layer, L0Conv2d):
        return randn(2, layer.in_channels, 6, 6)
    return randn(5, 4)


def all_gates(model: nn.Module) -> list[HardConcrete]:
    return [module for module in model.modules() if isinstance(module, HardConcrete)]


def opened(model: nn.Module) -> None:
    """Open every gate of `model` for good."""
    for gates in all_gates(model):
        gates.log_alpha.data.fill_(1e3)


def close(layer: nn.Module, *channels: int) -> None:
    """Close the gates of these output channels: of all their weights, where `layer` is unstructured."""
    assert isinstance(layer, GatedLayer)
    layer.gates.log_alpha.data[list(channels)] = -FAR


def close_inputs(layer: nn.Module, *features: int) -> None:
    """Close what an unstructured linear layer reads of these features."""
    assert isinstance(layer, L0Linear)
    layer.gates.log_alpha.data[:, list(features)] = -FAR


def n_weights(model: nn.Module, *, without_gates: bool = True) -> int:
    skipped: Iterable[int] = [id(gates.log_alpha) for gates in all_gates(model)] if without_gates else ()
    return sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in set(skipped))


def answers_alike(net: nn.Module, *x: Tensor) -> nn.Module:
    """Compact `net` and compare; gives the smaller network."""
    small = compact(net)
    torch.testing.assert_close(small(*x), net.eval()(*x), rtol=1e-5, atol=1e-6)
    return small


def shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of `net`, without gates."""
    return {
        name.removesuffix(".weight"): tuple(parameter.shape)
        for name, parameter in net.named_parameters()
        if name.endswith("weight") and parameter.ndim > 1
    }


def two_linears(*between: nn.Module, hidden: int = 4, bias: bool = True) -> nn.Sequential:
    net = nn.Sequential(L0Linear(3, hidden, structured=True), *between, L0Linear(hidden, 2, bias))
    opened(net)
    net.get_parameter("0.bias").data.copy_(1 + torch.arange(hidden))
    return net


def two_convolutions(*between: nn.Module, padding: int = 0) -> nn.Sequential:
    net = nn.Sequential(L0Conv2d(2, 4, 3, structured=True), *between, L0Conv2d(4, 3, 3, padding=padding))
    opened(net)
    net.get_parameter("0.bias").data.copy_(1 + torch.arange(4))
    return net


def close_weights_only(layer: nn.Module, *channels: int) -> None:
    """Let nothing into these channels, but leave them their bias."""
    layer.get_parameter("weight").data[list(channels)] = 0


def gated_pair() -> tuple[L0Linear, L0Linear]:
    """Two layers, 3 -> 4 -> 3, one unit between them closed, another one without its input."""
    first, second = L0Linear(3, 4, structured=True), L0Linear(4, 3)
    for layer in (first, second):
        opened(layer)
    assert first.bias is not None
    first.bias.data.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    close_weights_only(first, 2)
    close(first, 1)
    return first, second


class Pair(nn.Module):
    """The base of the networks below: `first` and `second`, of which two units could go."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = gated_pair()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(torch.relu(self.first(x)))
        return scores


CUT = {"first": (2, 3), "second": (3, 2)}
WHOLE = {"first": (4, 3), "second": (3, 4)}
