"""The operations between two layers that treat every channel by itself: activations, pooling, flattening, norms."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from l0core.layers.solid import SolidLayer

_ELEMENTWISE_MODULES = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Identity, nn.LeakyReLU, nn.LogSigmoid,
    nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanh,
)  # fmt: skip
_OFF_AT_TEST_TIME = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_ELEMENTWISE_FUNCTIONS = {
    torch.relu, torch.sigmoid, torch.tanh, functional.elu, functional.gelu, functional.hardtanh,
    functional.hardswish, functional.leaky_relu, functional.mish, functional.relu, functional.relu6, functional.selu,
    functional.sigmoid, functional.silu, functional.softplus, functional.tanh,
}  # fmt: skip
_ELEMENTWISE_METHODS = {"relu", "sigmoid", "tanh", "relu_", "sigmoid_", "tanh_"}
_POOL_FUNCTIONS = {functional.max_pool2d, functional.adaptive_avg_pool2d, torch.max_pool2d}
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Step(Protocol):
    """One operation that keeps channels apart."""

    def carry(self, known: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Give which channels are constant after it, and at what, from the same before it."""
        ...

    def keep_only(self, keep: Tensor) -> None:
        """Drop what it holds for the channels that `keep` leaves out."""
        ...


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """A function of single numbers; it holds nothing."""

    function: Callable[[Tensor], Tensor]

    def carry(self, known: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Apply it to the constants."""
        return known, self.function(value.clone())

    def keep_only(self, keep: Tensor) -> None:
        """Change nothing."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A maximum or mean over places: of equal numbers it is that number, unless zeros at the border take part."""

    border: bool

    def carry(self, known: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the constants; at a border only zeros."""
        return known & ((value == 0) | (not self.border)), value

    def keep_only(self, keep: Tensor) -> None:
        """Change nothing."""


@dataclass(frozen=True, kw_only=True)
class Flatten:
    """All axes behind the batch become one."""

    def carry(self, known: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the constants."""
        return known, value

    def keep_only(self, keep: Tensor) -> None:
        """Change nothing."""


@dataclass(frozen=True, kw_only=True)
class Norm:
    """Batch normalisation with its running statistics: one straight line a channel."""

    module: nn.BatchNorm1d | nn.BatchNorm2d

    def carry(self, known: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise the constants."""
        norm = self.module
        line = functional.batch_norm(
            value[None], norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
        return known, line[0].detach()

    def keep_only(self, keep: Tensor) -> None:
        """Cut statistics and parameters."""
        norm = self.module
        for name in ("running_mean", "running_var"):
            setattr(norm, name, getattr(norm, name)[keep])
        if norm.affine:
            norm.weight, norm.bias = (nn.Parameter(p[keep], p.requires_grad) for p in (norm.weight, norm.bias))
        norm.num_features = int(keep.sum())


@dataclass(frozen=True, kw_only=True)
class Depthwise:
    """A convolution of each channel by itself."""

    layer: SolidLayer

    def carry(self, known: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Give the bias where nothing comes through, else bias plus the sum of the kernel times the constant."""
        kernel = self.layer.weight.flatten(1)
        through = known & ((value == 0) | (not self.layer.sees_padding))
        return through | ~kernel.any(1), self.layer.offset() + kernel.sum(1) * torch.where(known, value, 0.0)

    def keep_only(self, keep: Tensor) -> None:
        """Cut kernels and biases."""
        self.layer.keep_outputs(keep)


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is cut: the model, its layers by name, and the modules that may change because they are called once."""

    model: nn.Module
    layers: dict[str, SolidLayer]
    cuttable: frozenset[str]

    def layer_at(self, node: fx.Node) -> SolidLayer | None:
        """Give the layer called at `node` if it may be cut."""
        name = str(node.target)
        layer = self.layers.get(name) if node.op == "call_module" and name in self.cuttable else None
        return layer if layer is not None and layer.can_be_cut and not _has_hooks(layer.module) else None


def step_of(node: fx.Node, network: Network, *, spatial: bool) -> Step | None:
    """Give the step at `node`, or None for an operation that is not known to keep channels apart.

    `spatial`: the channels are the second axis of images, else the last axis of anything.
    """
    if len(node.all_input_nodes) != 1:
        return None
    if node.op != "call_module":
        return _function_step(node, spatial=spatial)
    layer = network.layer_at(node)
    if layer is not None and layer.depthwise and spatial:
        return Depthwise(layer=layer)
    module = network.model.get_submodule(str(node.target))
    if _has_hooks(module):
        return None
    if isinstance(module, _NORMS):
        return _norm(module, spatial=spatial) if str(node.target) in network.cuttable else None
    return _module_step(module, spatial=spatial)


def _has_hooks(module: nn.Module) -> bool:
    """Whether somebody watches or changes what goes in or out, or put another `forward` in: torch.fx does not look."""
    return bool(module._forward_pre_hooks or module._forward_hooks or "forward" in vars(module))


def _norm(module: nn.BatchNorm1d | nn.BatchNorm2d, *, spatial: bool) -> Step | None:
    fits = module.track_running_stats and type(module) is (nn.BatchNorm2d if spatial else nn.BatchNorm1d)
    return Norm(module=module) if fits else None


def _module_step(module: nn.Module, *, spatial: bool) -> Step | None:
    """Give the step of a module, by its exact class: a subclass may do something else."""
    if type(module) in _OFF_AT_TEST_TIME:
        return Elementwise(function=torch.clone)
    if type(module) in _ELEMENTWISE_MODULES:
        return Elementwise(function=module)
    if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return Flatten()
    if spatial and type(module) in _POOLS and not getattr(module, "return_indices", False):
        return Pool(border=isinstance(module, nn.AvgPool2d) and _counts_more_than_the_image(module))
    return None


def _counts_more_than_the_image(pool: nn.AvgPool2d) -> bool:
    return pool.padding not in (0, (0, 0)) or pool.divisor_override is not None


def _function_step(node: fx.Node, *, spatial: bool) -> Step | None:
    if not node.args or node.args[0] is not node.all_input_nodes[0]:
        return None
    rest: tuple[Any, ...] = tuple(node.args[1:])
    if spatial and node.target in _POOL_FUNCTIONS:
        return Pool(border=False)
    if node.target in ("flatten", torch.flatten) and _from_the_first_axis(rest, dict(node.kwargs)):
        return Flatten()
    function = _elementwise(node, rest)
    return None if function is None else Elementwise(function=function)


def _elementwise(node: fx.Node, rest: tuple[Any, ...]) -> Callable[[Tensor], Tensor] | None:
    """Give the function of single numbers at `node`, if it is one."""
    target: Any = node.target
    if node.op == "call_method" and target in _ELEMENTWISE_METHODS:
        return operator.methodcaller(target, *rest, **node.kwargs)
    if target is functional.dropout and _is_off(rest, dict(node.kwargs)):
        return torch.clone
    if node.op == "call_function" and target in _ELEMENTWISE_FUNCTIONS:
        return lambda value: target(value, *rest, **node.kwargs)
    return None


def _is_off(rest: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether a dropout was traced outside training (the network is in `eval()` when it is)."""
    return (dict(zip(("p", "training"), rest, strict=False)) | named).get("training") is False


def _from_the_first_axis(rest: tuple[Any, ...], named: dict[str, Any]) -> bool:
    given = dict(zip(("start_dim", "end_dim"), rest, strict=False)) | named
    return given.get("start_dim") == 1 and given.get("end_dim", -1) == -1
