"""An exact number of gates, best first: how a count is met whatever the gates' probabilities are."""

import torch
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.distributions import HardConcrete
from l0core.noise import Noise


def best(gates: HardConcrete, k: int, *, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
    """Give (indices, gates) of the `k` gates that are open the widest, indices ascending.

    In training the gates are drawn once, and ranked by the logit they were drawn at: the order of the draws, also
    among those clipped to 0 or 1. In `eval()` they are ranked by location, and each chosen one counts as fully open:
    there the choice is a decision, and the same k come every time. `noise` takes the place of the gates' own.
    """
    score, value = _drawn(gates, noise or gates.noise) if gates.training else _decided(gates)
    chosen = torch.topk(score.detach(), k).indices.sort().values
    return chosen, value[chosen]


def _drawn(gates: HardConcrete, source: Noise) -> tuple[Tensor, Tensor]:
    noise = source.logistic(gates.log_alpha)
    return gates.log_alpha + noise, hc.sample(gates.log_alpha, noise, gates.shape)


def _decided(gates: HardConcrete) -> tuple[Tensor, Tensor]:
    fully_open = torch.ones_like(gates.log_alpha, dtype=torch.bool)  # times True a weight keeps its type and digits
    return gates.log_alpha, fully_open
