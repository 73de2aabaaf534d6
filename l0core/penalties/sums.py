"""Penalties and counts over a whole model. `gated` defines the words; every gated module of the model takes part."""

from typing import TypedDict

import torch
from torch import Tensor, nn

from l0core.gated import GatedCount, gated_modules
from l0core.scalars import NOT_NEGATIVE, number


class SparsityStats(TypedDict):
    """One gated module at test time: share of its gated parameters that are closed, how many are open, all of them."""

    sparsity: float
    active_params: int
    total_params: int


def compute_l0_penalty(model: nn.Module) -> Tensor:
    """Give the expected number of open gates of `model`: the sum of P(z > 0) over layers, gates and calibrations.

    Source: Louizos, Welling, Kingma 2018, eq. 12. A model without gates has 0. Raises InvalidHyperparameter where
    `model` is no torch module.

    >>> from l0core import L0Linear
    >>> net = nn.Sequential(L0Linear(4, 3), nn.ReLU(), L0Linear(3, 2))
    >>> round(compute_l0_penalty(net).item(), 1)  # 18 gates, each open with probability 0.768
    13.8
    """
    return _total([module.expected_l0() for _, module in gated_modules(model)], model)


def compute_l2_penalty(model: nn.Module) -> Tensor:
    """Give the sum of the squared parameters of `model`, the locations of its gates left out.

    Calibrated weights enter as weights (sum of exp(2 log_weight)), not as their logarithms.

    >>> from l0core import L0Gate
    >>> compute_l2_penalty(L0Gate(10)).item()  # gates alone hold no weight
    0.0
    """
    gated = [module for _, module in gated_modules(model)]
    inside = {id(parameter) for module in gated for parameter in module.parameters()}
    plain = [p.square().sum() for p in model.parameters() if id(p) not in inside]
    return _total([module.sum_of_squares() for module in gated] + plain, model)


def compute_l0l2_penalty(model: nn.Module, l0_lambda: float = 1e-3, l2_lambda: float = 1e-4) -> Tensor:
    """Give `l0_lambda` times the L0 penalty plus `l2_lambda` times the L2 penalty (both prices >= 0).

    >>> from l0core import L0Linear
    >>> compute_l0l2_penalty(L0Linear(4, 3)).requires_grad
    True
    """
    price_l0 = number(l0_lambda, name="l0_lambda", within=NOT_NEGATIVE)
    price_l2 = number(l2_lambda, name="l2_lambda", within=NOT_NEGATIVE)
    return price_l0 * compute_l0_penalty(model) + price_l2 * compute_l2_penalty(model)


def get_sparsity_stats(model: nn.Module) -> dict[str, SparsityStats]:
    """Give, for every gated module of `model` by its name, how much of it is closed at test time.

    >>> from l0core import L0Linear
    >>> get_sparsity_stats(nn.Sequential(L0Linear(4, 3)))
    {'0': {'sparsity': 0.0, 'active_params': 12, 'total_params': 12}}
    """
    return {name: _stats(module.count()) for name, module in gated_modules(model)}


def get_active_parameter_count(model: nn.Module) -> int:
    """Give how many gated parameters of `model` are open at test time; parameters without a gate do not count.

    >>> from l0core import L0Linear
    >>> get_active_parameter_count(nn.Sequential(L0Linear(4, 3), nn.Linear(3, 2)))
    12
    """
    return sum(module.count().active for _, module in gated_modules(model))


def sparsity(model: nn.Module) -> float:
    """Give the share of all gated parameters of `model` that are closed at test time; 0 where there are none.

    >>> sparsity(nn.Linear(3, 2))
    0.0
    """
    counts = [module.count() for _, module in gated_modules(model)]
    return (
        GatedCount(active=sum(c.active for c in counts), total=sum(c.total for c in counts)).sparsity if counts else 0.0
    )


def _stats(count: GatedCount) -> SparsityStats:
    return SparsityStats(sparsity=count.sparsity, active_params=count.active, total_params=count.total)


def _total(terms: list[Tensor], model: nn.Module) -> Tensor:
    """Sum `terms` on the device of the model's first parameter."""
    first = next(model.parameters(), torch.zeros(()))
    return sum((term.to(first.device) for term in terms), torch.zeros((), device=first.device, dtype=first.dtype))
