"""The networks of a run as torch modules: plain, gated, and plain with only the chosen weights.

All are `nn.Sequential`s with one module a layer of the plan, so that `layers.{i}` is module i in each.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from l0core.errors import InvalidHyperparameter
from l0core.layers import GatedLayer, L0Conv2d, L0Linear
from l0core.layers.base import filled
from l0core.pruning.choice import Masks, units_alive
from l0core.pruning.data import Scale
from l0core.pruning.network import Conv2d, Flatten, Layer, Linear, MaxPool2d, Plan, Relu, WeightedPlace
from l0core.pruning.options import PruningHyperparameters
from l0core.pruning.problem import PruningProblem
from l0core.pruning.seeds import Purpose, seed_for

Weights = dict[str, Tensor]


def starting_weights(problem: PruningProblem, seed: int, scale: Scale) -> Weights:
    """Give the weights both networks begin with: those of the problem, or as He et al. 2015 (arXiv 1502.01852)."""
    given = {name: torch.from_numpy(array.copy()) for name, array in problem.starting_weights.items()}
    return rescaled(given, problem.plan, shift=-scale.shift / scale.unit, unit=1 / scale.unit) or _drawn(
        problem.plan, seed
    )


def rescaled(weights: Weights, plan: Plan, *, shift: float, unit: float) -> Weights:
    """Give weights whose network gives `shift` + `unit` times the outputs of `weights`."""
    if not weights or (shift, unit) == (0.0, 1.0):
        return weights
    last = f"layers.{plan.places[-1].index}"
    weight, bias = (weights[f"{last}.{name}"].double() * unit for name in ("weight", "bias"))
    return weights | {f"{last}.weight": weight.float(), f"{last}.bias": (bias + shift).float()}


def plain_network(plan: Plan, weights: Mapping[str, Tensor]) -> nn.Sequential:
    """Give the network with these weights, copied, nothing drawn."""
    return nn.Sequential(*(_plain(place.layer, f"layers.{place.index}", weights) for place in plan.places))


def gated_network(
    plan: Plan, weights: Mapping[str, Tensor], options: PruningHyperparameters, generator: torch.Generator
) -> nn.Sequential:
    """Give the network with gates on its units or weights, which draw from `generator`."""
    by_unit = layers_by_unit(plan, options.structured)
    places = {place.index: place for place in plan.weighted}
    last = plan.places[-1].index
    modules: list[nn.Module] = []
    for place in plan.places:
        name = f"layers.{place.index}"
        if place.index not in places or (place.index == last and options.structured is True):
            modules.append(_plain(place.layer, name, weights))
        else:
            layer = _gated(places[place.index], options, generator, structured=place.index in by_unit)
            _fill(layer, weights, name)
            modules.append(layer)
    return nn.Sequential(*modules)


def layers_by_unit(plan: Plan, structured: bool | list[int]) -> frozenset[int]:
    """Give the layers whose gates are on whole units.

    Raises InvalidHyperparameter for a layer that has no units to choose from: the last one, or one without weights.
    """
    inner = [place.index for place in plan.weighted[:-1]]
    if isinstance(structured, list):
        for index in structured:
            if index not in inner:
                raise _refusal(f"structured names layer {index}; layers with units that may go are {inner}")
        return frozenset(structured)
    if structured and not inner:
        raise _refusal(
            "structured is true, and the network has no units inside: give false, which prunes single weights"
        )
    return frozenset(inner) if structured else frozenset()


def weights_of(network: nn.Sequential) -> Weights:
    """Give the weights of a plain network by their names, detached."""
    return {f"layers.{name}": parameter.detach() for name, parameter in network.named_parameters()}


def weights_to_go_on_with(network: nn.Sequential, plan: Plan) -> Weights:
    """Give weights and biases behind their gates: the test-time gate, or P(z > 0) where that is closed.

    A closed gate may be among those that are chosen, to meet the target; from 0 its weights would learn nothing.
    """
    found: Weights = {}
    for place in plan.weighted:
        weight, bias = _behind_gates(network[place.index])
        found |= {f"layers.{place.index}.weight": weight, f"layers.{place.index}.bias": bias}
    return found


def _behind_gates(layer: nn.Module) -> tuple[Tensor, Tensor]:
    if isinstance(layer, GatedLayer):
        gates = layer.gates.deterministic()
        likely = torch.where(gates > 0, gates, layer.gates.get_active_prob())
        weight, bias = layer.behind(likely)
    else:
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    assert bias is not None  # noqa: S101  # every layer here has one
    return weight.detach(), bias.detach()


def masks_by_name(masks: Masks, plan: Plan, device: str) -> Weights:
    """Give masks (1 or 0) for every weight and bias by its name."""
    found: Weights = {}
    for place, mask, units in zip(plan.weighted, masks, units_alive(masks), strict=True):
        found[f"layers.{place.index}.weight"] = torch.as_tensor(mask.reshape(place.weight_shape), dtype=torch.float32)
        found[f"layers.{place.index}.bias"] = torch.as_tensor(units, dtype=torch.float32)
    return {name: mask.to(device) for name, mask in found.items()}


def _drawn(plan: Plan, seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed_for(Purpose.WEIGHTS, seed))
    found: Weights = {}
    for place in plan.weighted:
        weight = torch.empty(place.weight_shape)
        nn.init.kaiming_normal_(weight, generator=generator)
        found |= {f"layers.{place.index}.weight": weight, f"layers.{place.index}.bias": torch.zeros(place.units)}
    return found


def _plain(layer: Layer, name: str, weights: Mapping[str, Tensor]) -> nn.Module:
    match layer:
        case Relu():
            return nn.ReLU()
        case Flatten():
            return nn.Flatten()
        case MaxPool2d(kernel_size=kernel, stride=stride):
            return nn.MaxPool2d(kernel, stride or kernel)
        case Linear():
            weight, bias = _copies(weights, name)
            return filled(nn.Linear, weight.shape[1], weight.shape[0], weight=weight, bias=bias)
        case Conv2d(kernel_size=kernel, stride=stride, padding=padding):
            weight, bias = _copies(weights, name)
            sizes = (weight.shape[1], weight.shape[0], kernel)
            return filled(nn.Conv2d, *sizes, stride=stride, padding=padding, weight=weight, bias=bias)


def _copies(weights: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return weights[f"{name}.weight"].detach().clone(), weights[f"{name}.bias"].detach().clone()


def _gated(
    place: WeightedPlace, options: PruningHyperparameters, generator: torch.Generator, *, structured: bool
) -> GatedLayer:
    layer, (outputs, inputs) = place.layer, place.weight_shape[:2]
    start = (True, options.temperature_start, options.init_sparsity)
    if isinstance(layer, Linear):
        return L0Linear(inputs, outputs, *start, structured=structured, generator=generator)
    window = (layer.kernel_size, layer.stride, layer.padding)
    return L0Conv2d(inputs, outputs, *window, *start, structured, generator=generator)


def _fill(layer: GatedLayer, weights: Mapping[str, Tensor], name: str) -> None:
    assert layer.bias is not None  # noqa: S101  # every layer here has one
    with torch.no_grad():
        layer.weight.copy_(weights[f"{name}.weight"])
        layer.bias.copy_(weights[f"{name}.bias"])


def _refusal(message: str) -> InvalidHyperparameter:
    return InvalidHyperparameter(message, pointer="/hyperparameters/structured")
