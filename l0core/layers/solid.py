"""A layer with its gates multiplied in, as plain tensors that can be cut."""

import copy
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from l0core.layers.base import GatedLayer
from l0core.layers.conv import L0Conv2d, L0DepthwiseConv2d
from l0core.layers.linear import L0Linear

_Convolution = L0Conv2d | nn.Conv2d
_WITH_CHANNELS = (L0Linear, L0Conv2d, L0DepthwiseConv2d, nn.Linear, nn.Conv2d)


@dataclass
class SolidLayer:
    """`weight` (outputs, inputs, ...) and `bias` of `module` as they act at test time; both change as channels go."""

    module: nn.Module
    weight: Tensor
    bias: Tensor | None

    @property
    def can_be_cut(self) -> bool:
        """Whether its channels are where this module looks for them: of a subclass nobody knows."""
        return type(self.module) in _WITH_CHANNELS

    @property
    def convolutional(self) -> bool:
        """Whether it is a convolution (else linear)."""
        return isinstance(self.module, _Convolution)

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        if not isinstance(self.module, _Convolution):
            return False
        return self.module.groups > 1 and self.module.groups == self.module.in_channels == self.module.out_channels

    @property
    def one_group(self) -> bool:
        """Whether every output sees every input."""
        return not isinstance(self.module, _Convolution) or self.module.groups == 1

    @property
    def sees_padding(self) -> bool:
        """Whether zeros stand around its input, so that a constant input gives no constant output at the border."""
        if not isinstance(self.module, _Convolution):
            return False
        return any(self.module.padding) if isinstance(self.module.padding, tuple) else self.module.padding != "valid"

    def offset(self) -> Tensor:
        """Give the bias, zeros where there is none."""
        return self.weight.new_zeros(self.weight.shape[0]) if self.bias is None else self.bias

    def keep_outputs(self, keep: Tensor) -> None:
        """Drop the output channels that `keep` leaves out."""
        self.weight = self.weight[keep]
        self.bias = None if self.bias is None else self.bias[keep]

    def keep_inputs(self, keep: Tensor) -> None:
        """Drop the input channels that `keep` leaves out."""
        self.weight = self.weight[:, keep]

    def add_to_bias(self, amount: Tensor) -> None:
        """Add `amount` (one an output) to the bias; a layer without one gets one unless there is nothing to add."""
        if bool(amount.any()):
            self.bias = self.offset() + amount

    def plain(self) -> nn.Module:
        """Give torch's own layer with these weights: `module` itself where it is one and has lost nothing."""
        if isinstance(self.module, GatedLayer):
            return _like(self.module, self.module.plain(self.weight, self.bias).eval())
        own = cast("nn.Linear | nn.Conv2d", self.module)
        return own if own.weight.shape == self.weight.shape else _like(own, _resized(own, self.weight, self.bias))


def solid_layers(model: nn.Module) -> dict[str, SolidLayer]:
    """Give the linear and convolutional layers of `model` by name, gates multiplied in."""
    found = {name: _solid(module) for name, module in model.named_modules()}
    return {name: layer for name, layer in found.items() if layer is not None}


def _solid(module: nn.Module) -> SolidLayer | None:
    if isinstance(module, GatedLayer):
        weight, bias = module.at_test_time()
        return SolidLayer(module=module, weight=weight, bias=bias)
    if type(module) in (nn.Linear, nn.Conv2d):  # a subclass may do something else with its weights
        own = cast("nn.Linear | nn.Conv2d", module)
        return SolidLayer(module=own, weight=own.weight.detach(), bias=None if own.bias is None else own.bias.detach())
    return None


def _resized(module: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer = copy.deepcopy(module)
    layer.weight = nn.Parameter(weight.clone())
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias.clone()))
    outputs, inputs = weight.shape[:2]
    if isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = inputs, outputs
    else:
        layer.groups = outputs if _one_a_channel(module) else layer.groups
        layer.in_channels, layer.out_channels = inputs * layer.groups, outputs
    return layer


def _like(module: GatedLayer | nn.Linear | nn.Conv2d, layer: nn.Module) -> nn.Module:
    """Give `layer`, made trainable where `module` is, with the hooks of `module`."""
    vars(layer).update({name: copy.copy(hooks) for name, hooks in vars(module).items() if "_hook" in name})
    for name, parameter in layer.named_parameters():
        before = module.bias if name == "bias" and module.bias is not None else module.weight
        parameter.requires_grad_(before.requires_grad)
    return layer


def _one_a_channel(module: nn.Linear | nn.Conv2d) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels == module.out_channels
