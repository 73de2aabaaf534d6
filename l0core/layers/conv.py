"""`L0Conv2d` and `L0DepthwiseConv2d`: convolutions with gated weights or gated output channels."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0core.errors import InvalidHyperparameter
from l0core.layers.base import GatedLayer, filled
from l0core.scalars import flag, whole

Pair = tuple[int, int]
_PEER_S_PREFIX = "depthwise_conv."  # where l0-python's depthwise layer keeps its weight and bias


class L0Conv2d(GatedLayer):
    """Two-dimensional convolution, inputs (batch, `in_channels`, height, width).

    One gate a weight; with `structured=True` one an output channel, its bias included. `kernel_size`, `stride`,
    `padding` (zeros) and `dilation` are a number or a pair (height, width). `init_sparsity` is 1 - sigmoid(log_alpha)
    at the start.

    Raises InvalidHyperparameter naming the argument that is out of range.

    >>> layer = L0Conv2d(2, 4, 3, padding=1, structured=True, generator=torch.Generator().manual_seed(1))
    >>> layer(torch.ones(1, 2, 5, 5)).shape, layer.count().total  # 4 x (2 x 3 x 3 weights + a bias)
    (torch.Size([1, 4, 5, 5]), 76)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        structured: bool = False,
        use_l2: bool = False,
        *,
        dilation: int | Pair = 1,
        groups: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        in_channels, out_channels = whole(in_channels, name="in_channels"), whole(out_channels, name="out_channels")
        groups = _groups(groups, in_channels, out_channels)
        kernel = _pair(kernel_size, name="kernel_size")
        super().__init__(
            (out_channels, in_channels // groups, *kernel),
            bias=flag(bias, name="bias"),
            structured=flag(structured, name="structured"),
            temperature=temperature,
            init_sparsity=init_sparsity,
            use_l2=flag(use_l2, name="use_l2"),
            generator=generator,
        )
        self.in_channels, self.out_channels, self.groups, self.kernel_size = in_channels, out_channels, groups, kernel
        self.stride = _pair(stride, name="stride")
        self.padding = _pair(padding, name="padding", at_least=0)
        self.dilation = _pair(dilation, name="dilation")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name
        """Apply the gated convolution."""
        weight, bias = self.gated()
        return functional.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def plain(self, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
        """Give an `nn.Conv2d` with these weights and this layer's stride, padding, dilation and groups.

        The number of groups is kept, but for a depthwise layer, which has one a channel.
        """
        groups = weight.shape[0] if self.depthwise else self.groups
        return filled(
            nn.Conv2d,
            weight.shape[1] * groups,
            weight.shape[0],
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=groups,
            weight=weight,
            bias=bias,
        )

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.groups == self.in_channels == self.out_channels


class L0DepthwiseConv2d(L0Conv2d):
    """Each channel convolved by itself, one gate a channel: `L0Conv2d` with as many groups as channels, structured.

    Arguments as there; `use_l2`, `dilation` and `generator` by keyword.

    >>> layer = L0DepthwiseConv2d(3, 3, padding=1, generator=torch.Generator().manual_seed(1))
    >>> layer(torch.ones(1, 3, 5, 5)).shape, layer.count().total  # 3 x (3 x 3 weights + a bias)
    (torch.Size([1, 3, 5, 5]), 30)
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        *,
        use_l2: bool = False,
        dilation: int | Pair = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            in_channels,
            kernel_size,
            stride,
            padding,
            bias,
            temperature,
            init_sparsity,
            structured=True,
            use_l2=use_l2,
            dilation=dilation,
            groups=in_channels,
            generator=generator,
        )

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Read files of l0-python too, which hold weight and bias one level deeper."""
        held = cast("dict[str, Any]", state_dict)
        for name in ("weight", "bias"):
            if prefix + _PEER_S_PREFIX + name in held:
                held[prefix + name] = held.pop(prefix + _PEER_S_PREFIX + name)
        super()._load_from_state_dict(held, prefix, *args)


def _pair(value: int | Pair, *, name: str, at_least: int = 1) -> Pair:
    sides = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(sides) != 2:
        raise InvalidHyperparameter(
            f"{name} is {value!r}; it must be a whole number or a pair (height, width)", pointer=f"/{name}"
        )
    height, width = (whole(side, name=name, at_least=at_least) for side in sides)
    return height, width


def _groups(groups: int, in_channels: int, out_channels: int) -> int:
    groups = whole(groups, name="groups")
    if in_channels % groups or out_channels % groups:
        raise InvalidHyperparameter(
            f"groups is {groups}; it must divide in_channels ({in_channels}) and out_channels ({out_channels})",
            pointer="/groups",
        )
    return groups
