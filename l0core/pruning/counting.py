"""How many parameters a gated network has in expectation, differentiable in its gates."""

import torch
from torch import Tensor, nn

from l0core.layers import GatedLayer
from l0core.pruning.choice import Ranking
from l0core.pruning.network import Plan, WeightedPlace


def expected_parameters(network: nn.Sequential, plan: Plan) -> Tensor:
    """Give E[parameters] in float32: a weight counts if its own gate, its unit's and the unit's before it are open.

    Gates are independent, so the expectation of a product is the product of expectations. Units that gates of single
    weights cut off are not foreseen: they are counted at the choice.
    """
    before: Tensor | None = None
    total = torch.zeros((), device=next(network.parameters()).device)
    for place in plan.weighted:
        layer = network[place.index]
        gates = layer.gates.get_active_prob() if isinstance(layer, GatedLayer) else None
        by_unit = gates if gates is not None and gates.ndim == 1 else None
        total = total + _weights(place, gates, before) + (place.units if by_unit is None else by_unit.sum())
        before = by_unit
    return total


def _weights(place: WeightedPlace, gates: Tensor | None, before: Tensor | None) -> Tensor | float:
    """Give the expected number of weights of a layer; `before` are the gates of the units before it, None if open."""
    reaching = float(place.units_in) if before is None else before.sum()
    if gates is None:
        return reaching * (place.units * place.block)
    if gates.ndim == 1:
        return gates.sum() * reaching * place.block
    if before is None:
        return gates.sum()
    return (gates.reshape(place.by_unit).sum((0, 2)) * before).sum()


def rankings(network: nn.Sequential, plan: Plan) -> list[Ranking]:
    """Give how much each gate wants to stay: its location, less the one at which it is as likely open as closed."""
    return [_ranking(network[place.index], place) for place in plan.weighted]


def _ranking(layer: nn.Module, place: WeightedPlace) -> Ranking:
    assert isinstance(layer.weight, Tensor)  # noqa: S101  # a layer with weights; says so to the type checker
    sizes = layer.weight.detach().abs().double().cpu().numpy().reshape(place.by_unit)
    if not isinstance(layer, GatedLayer):
        return Ranking(by_unit=True, scores=torch.full((place.units,), torch.inf).double().numpy(), sizes=sizes)
    location = (layer.gates.log_alpha.detach() - layer.gates.shape.threshold).double().cpu().numpy()
    if layer.structured:
        return Ranking(by_unit=True, scores=location, sizes=sizes)
    return Ranking(by_unit=False, scores=location.reshape(place.by_unit), sizes=sizes)
