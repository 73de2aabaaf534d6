"""What a module with gates answers, whatever it gates: the one interface of penalties, schedules, counts and pruning.

The meanings, the same everywhere:

| word | meaning |
|---|---|
| L0 penalty | expected number of open gates, sum of P(z > 0) |
| sum of squares | of the weights, never of the gates' locations |
| sparsity | share of the gated parameters whose gate is exactly 0 at test time, that is P(z > 0) <= 1/2 |
| count | gated parameters that are open at test time, and all of them |
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from l0core.errors import InvalidHyperparameter


@dataclass(frozen=True, kw_only=True)
class GatedCount:
    """Parameters behind gates: how many are open at test time, and how many there are."""

    active: int
    total: int

    @property
    def sparsity(self) -> float:
        """The share that is closed.

        >>> GatedCount(active=1, total=4).sparsity
        0.75
        """
        return 1 - self.active / self.total


class Gated(nn.Module, ABC):
    """A module that owns gates, itself or through its parts."""

    @abstractmethod
    def set_temperature(self, temperature: float) -> None:
        """Give all its gates this temperature (> 0)."""

    @abstractmethod
    def expected_l0(self) -> Tensor:
        """Give the expected number of open gates; differentiable."""

    @abstractmethod
    def sum_of_squares(self) -> Tensor:
        """Give the sum of its squared weights, gate locations left out; differentiable."""

    @abstractmethod
    def count(self) -> GatedCount:
        """Give the parameters behind its gates, at test time."""

    @abstractmethod
    def close_below(self, threshold: float) -> None:
        """Close for good every gate whose P(z > 0) is below `threshold`, and zero what stands behind it."""


def gated_modules(model: nn.Module) -> list[tuple[str, Gated]]:
    """Give (name, module) of every outermost gated module of `model`, each once: a layer, and not its gates again.

    Raises InvalidHyperparameter where `model` is no torch module.
    """
    if not isinstance(model, nn.Module):
        raise InvalidHyperparameter(f"model is {model!r}; it must be a torch.nn.Module", pointer="/model")
    gated = [(name, module) for name, module in model.named_modules() if isinstance(module, Gated)]
    inside = {id(part) for _, module in gated for part in module.modules() if part is not module}
    return [(name, module) for name, module in gated if id(module) not in inside]
