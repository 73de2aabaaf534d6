"""Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1), in place, with no state hidden in an optimiser object."""

from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_DECAY, SECOND_DECAY = 0.9, 0.999
_FLOOR = 1e-15  # far below any gradient that matters, so that a small lambda still acts


@dataclass(frozen=True, kw_only=True)
class Adam:
    """The two running moments of a parameter, of its shape. One object lives as long as the fit it belongs to."""

    first: Tensor
    second: Tensor

    @classmethod
    def for_parameter(cls, theta: Tensor) -> "Adam":
        """Give the moments before the first step: zeros."""
        return cls(first=torch.zeros_like(theta), second=torch.zeros_like(theta))

    def step(self, theta: Tensor, gradient: Tensor, *, step: int, learning_rate: float) -> None:
        """Move `theta`; `step` counts from 1."""
        self.first.mul_(FIRST_DECAY).add_(gradient, alpha=1 - FIRST_DECAY)
        self.second.mul_(SECOND_DECAY).addcmul_(gradient, gradient, value=1 - SECOND_DECAY)
        spread = (self.second / (1 - SECOND_DECAY**step)).sqrt_().add_(_FLOOR)
        theta.addcdiv_(self.first, spread, value=-learning_rate / (1 - FIRST_DECAY**step))
