"""The price of a unit during a selection, and the exact choice of k units at its end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0core.arrays import FloatArray

_GAIN = 0.02  # change of log lambda an epoch for each unit of log(count / goal)
_RAMP = 0.4  # share of the epochs over which the goal falls from all candidates to the budget
_SWING = 1e4  # lambda stays within this factor of where it started


Count = Callable[[], Tensor]  # asked for where it is needed: counting costs a pass over the gates


@dataclass(frozen=True, kw_only=True)
class FixedPrice:
    """A lambda that stays."""

    start: float

    least: ClassVar[int] = 0
    settled: ClassVar[float] = 0.0

    def update(self, price: Tensor, _open: Count, _epoch: float) -> Tensor:
        """Give the price unchanged."""
        return price


@dataclass(frozen=True, kw_only=True)
class BudgetPrice:
    """A lambda that follows the expected count: the goal falls geometrically from `candidates` to `budget`."""

    start: float
    budget: int
    candidates: int
    epochs: int

    settled: ClassVar[float] = _RAMP  # the share of the epochs after which the goal stays

    @property
    def least(self) -> int:
        """How many units must stay to choose from."""
        return self.budget

    def update(self, price: Tensor, expected_open: Count, epoch: float) -> Tensor:
        """Give the next price from the expected number of open gates, without leaving the device."""
        done = min(1.0, epoch / max(1.0, _RAMP * self.epochs))
        goal = self.candidates * (self.budget / self.candidates) ** done
        factor = torch.exp(_GAIN * torch.log(expected_open().clamp(min=1e-3) / goal))
        return torch.clamp(price * factor, min=self.start / _SWING, max=self.start * _SWING)


Price = FixedPrice | BudgetPrice


def choose_exactly(
    k: int, gates: FloatArray, usefulness: FloatArray, *, always: NDArray[np.intp] | None = None
) -> NDArray[np.intp]:
    """Give the positions of exactly `k` units in order: `always` first, then open gates, each the most useful first.

    `usefulness` is w_j ||a_j||, what a unit contributes to the fit, which ranks better than its gate alone.

    >>> choose_exactly(2, np.array([0.0, 1.0, 0.0]), np.array([9.0, 1.0, 3.0])).tolist()
    [0, 1]
    >>> choose_exactly(2, np.array([0.0, 1.0, 0.0]), np.array([9.0, 1.0, 3.0]), always=np.array([2])).tolist()
    [1, 2]
    """
    free = np.ones(gates.size, np.bool_)
    free[[] if always is None else always] = False
    ranked = np.lexsort((-usefulness, gates <= 0, free))
    return np.sort(ranked[:k])
