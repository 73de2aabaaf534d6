"""Random chains of layers, for the laws of `compact`: gates open and closed, statistics and biases of every kind."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from l0core.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear
from tests.l0core.layers.gated_nets import FAR, all_gates, seeded

ACTIVATIONS = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.Softplus, nn.Hardswish, nn.LeakyReLU, nn.Identity)
CONVOLUTIONS = ("gated", "structured", "plain", "depthwise", "plain depthwise", "grouped")
BETWEEN_IMAGES = ("activation", "norm", "max pool", "padded max pool", "average pool", "padded average pool", "dropout")
BETWEEN_FEATURES = ("activation", "norm", "dropout", "flatten")
LINEARS = ("gated", "structured", "plain")
SIDE = 11  # nine pools that take one place each leave two


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A network, its `eval()` not yet called, and inputs for it."""

    net: nn.Sequential
    x: Tensor


@st.composite
def feature_chains(draw: st.DrawFn, *, dtype: torch.dtype = torch.float64) -> Chain:
    """Linear layers with activations, norms and dropout between them."""
    width = draw(st.integers(1, 5))
    x = torch.randn(4, width, generator=seeded(draw(st.integers(0, 99))), dtype=dtype)
    layers = _features(draw, width, n=draw(st.integers(1, 4)))
    return Chain(net=_filled(draw, nn.Sequential(*layers).to(dtype)), x=x)


@st.composite
def image_chains(draw: st.DrawFn, *, dtype: torch.dtype = torch.float64) -> Chain:
    """Convolutions with everything between them that is followed, then perhaps linear layers."""
    channels = draw(st.integers(1, 4))
    x = torch.randn(2, channels, SIDE, SIDE, generator=seeded(draw(st.integers(0, 99))), dtype=dtype)
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        layers.append(convolution := _convolution(draw, channels))
        channels = convolution.out_channels
        layers += _between(draw, BETWEEN_IMAGES, channels)
    if draw(st.booleans()):
        layers += [nn.AdaptiveAvgPool2d(draw(st.integers(1, 2))), nn.Flatten()]
        (features,) = _shape(layers, x)
        layers += _features(draw, features, n=draw(st.integers(1, 2)))
    return Chain(net=_filled(draw, nn.Sequential(*layers).to(dtype)), x=x)


def _shape(layers: list[nn.Module], x: Tensor) -> tuple[int, ...]:
    return tuple(nn.Sequential(*layers).eval()(x.float()).shape[1:])


def _features(draw: st.DrawFn, width: int, *, n: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(n):
        kind, out, bias = draw(st.sampled_from(LINEARS)), draw(st.integers(1, 5)), draw(st.booleans())
        structured = kind == "structured"
        layers.append(
            nn.Linear(width, out, bias) if kind == "plain" else L0Linear(width, out, bias, structured=structured)
        )
        width = out
        layers += _between(draw, BETWEEN_FEATURES, width)
    return layers


def _convolution(draw: st.DrawFn, channels: int) -> nn.Conv2d | L0Conv2d:
    kind, out, bias = draw(st.sampled_from(CONVOLUTIONS)), draw(st.integers(1, 4)), draw(st.booleans())
    kernel, padding = draw(st.sampled_from([(1, 0), (1, 1), (3, 1), (2, 1)]))
    if kind == "depthwise":
        return L0DepthwiseConv2d(channels, kernel, padding=padding, bias=bias)
    if kind == "plain depthwise":
        return nn.Conv2d(channels, channels, kernel, padding=padding, bias=bias, groups=channels)
    if kind == "plain":
        return nn.Conv2d(channels, out, kernel, padding=padding, bias=bias)
    groups = 2 if kind == "grouped" and channels % 2 == 0 and out % 2 == 0 else 1
    return L0Conv2d(channels, out, kernel, padding=padding, bias=bias, structured=kind == "structured", groups=groups)


def _between(draw: st.DrawFn, steps: tuple[str, ...], channels: int) -> list[nn.Module]:
    images = steps is BETWEEN_IMAGES
    make: dict[str, Callable[[], nn.Module]] = {
        "activation": draw(st.sampled_from(ACTIVATIONS)),
        "norm": lambda: (nn.BatchNorm2d if images else nn.BatchNorm1d)(channels, affine=draw(st.booleans())),
        "dropout": nn.Dropout2d if images else nn.Dropout,
        "flatten": nn.Flatten,
        "max pool": lambda: nn.MaxPool2d(2, stride=1),
        "padded max pool": lambda: nn.MaxPool2d(3, stride=1, padding=1),
        "average pool": lambda: nn.AvgPool2d(2, stride=1, ceil_mode=True),
        "padded average pool": lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=draw(st.booleans())),
    }
    return [make[step]() for step in draw(st.lists(st.sampled_from(steps), max_size=3))]


def _filled(draw: st.DrawFn, net: nn.Sequential) -> nn.Sequential:
    """Fill every parameter and statistic of `net` with random numbers, some of them 0, and draw its gates."""
    generator = seeded(draw(st.integers(0, 2**31)))
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor.normal_(generator=generator)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
            else:
                tensor.mul_(torch.rand(tensor.shape, generator=generator) < draw(st.sampled_from([0.5, 1.0])))
    for gates in all_gates(net):
        share_open = draw(st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
        is_open = torch.rand(gates.gate_size, generator=generator) < share_open
        halfway = torch.rand(gates.gate_size, generator=generator).to(gates.log_alpha.dtype) - 0.5
        gates.log_alpha.data.copy_(torch.where(is_open, halfway, -FAR))
    return net
