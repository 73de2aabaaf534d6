"""When a selection no longer gets better, and the best of it so far: what `early_stopping` goes by.

At fixed epochs the objective is taken as the selection would be used, under the test-time gates. Objectives are
compared at the price of the moment: with a budget the price moves, so that what is kept of a state is its parts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

PATIENCE = 5  # looks without progress: a tenth of the epochs
_PROGRESS = 1e-3  # of the objective: what is less is none


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A state under its test-time gates: its loss with every penalty but that of the open gates, and their number."""

    loss: float
    open: float

    def objective(self, price: float) -> float:
        """Give the whole, at this price of an open gate."""
        return self.loss + price * self.open


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best state that was seen: its parameters (2 x units) and how it stands."""

    theta: Tensor
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """What was seen up to now. `mark` is where progress was last made, `waited` how many looks were without since."""

    best: Best | None = None
    mark: Standing | None = None
    waited: int = 0

    @property
    def is_reached(self) -> bool:
        """Whether the last looks were all without progress."""
        return self.waited >= PATIENCE

    def after(
        self, standing: Standing, theta: Callable[[], Tensor], *, price: float, counting: bool = True
    ) -> "Plateau":
        """Give what is known after one more look; `theta` is asked for where this state is the best.

        Where it is not `counting`, too early for a plateau, only the best is kept.

        >>> plateau = Plateau()
        >>> for loss in (3.0, 2.0, 2.0, 2.1):
        ...     plateau = plateau.after(Standing(loss=loss, open=0), lambda: torch.zeros(2, 1), price=1.0)
        >>> plateau.best.standing.loss, plateau.waited
        (2.0, 2)
        """
        best, objective = self.best, standing.objective(price)
        if best is None or objective < best.standing.objective(price):
            best = Best(theta=theta(), standing=standing)
        if not counting or self.mark is None or _is_progress(self.mark.objective(price), objective):
            return Plateau(best=best, mark=standing)
        return Plateau(best=best, mark=self.mark, waited=self.waited + 1)

    def tensors(self) -> dict[str, Tensor]:
        """Give what a checkpoint keeps of it: nothing before the first look that counts."""
        if self.best is None or self.mark is None:
            return {}
        numbers = [self.best.standing.loss, self.best.standing.open, self.mark.loss, self.mark.open, self.waited]
        return {
            "best_log_weight": self.best.theta[0],
            "best_log_alpha": self.best.theta[1],
            "plateau": torch.tensor(numbers, dtype=torch.float64),
        }

    @classmethod
    def of(cls, held: Mapping[str, Tensor], device: str) -> "Plateau":
        """Give back what `tensors` gave."""
        if "plateau" not in held:
            return cls()
        loss, open_, mark_loss, mark_open, waited = held["plateau"].tolist()
        theta = torch.stack([held["best_log_weight"], held["best_log_alpha"]]).to(device)
        return cls(
            best=Best(theta=theta, standing=Standing(loss=loss, open=open_)),
            mark=Standing(loss=mark_loss, open=mark_open),
            waited=int(waited),
        )


def travelled(epoch: int, epochs: int, rate: float, *, cosine: bool) -> float:
    """Give how far Adam's steps of these epochs can have carried a location: their learning rates' sum.

    >>> travelled(50, 100, 0.1, cosine=False), round(travelled(100, 100, 0.1, cosine=True), 3)
    (5.0, 5.0)
    """
    if not cosine:
        return rate * epoch
    return rate * (epoch + epochs / math.pi * math.sin(math.pi * epoch / epochs)) / 2


def _is_progress(before: float, now: float) -> bool:
    return now < before - _PROGRESS * abs(before)
