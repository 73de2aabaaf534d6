"""`HybridGate`: part of the items by gates, the rest by chance."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from l0core.errors import InvalidHyperparameter
from l0core.gates.l0_gate import L0Gate
from l0core.gates.ranking import best
from l0core.gates.selection import Data, starting_mean, taken
from l0core.noise import Noise, seeded
from l0core.scalars import FRACTION, number, whole

_DEFAULT_SHARE = 0.2
_FRACTION_TOLERANCE = 1e-9


class HybridGate(nn.Module):
    """Chooses exactly `target_items` (by default a fifth) of `n_items`, `l0_fraction` by gates and the rest by chance.

    The share by gates is rounded to a whole number of items; the two fractions must add up to 1. The random part is
    drawn without replacement from the items the gates did not choose, so that it stands for all the others. In
    `eval()` the gates choose the same items every time; the random part stays random.

    Raises InvalidHyperparameter for a count outside 1 to `n_items` or fractions outside 0 to 1.

    >>> gate = HybridGate(n_items=100, target_items=20)
    >>> selected, indices, types = gate.select(torch.arange(100.0))
    >>> len(indices), int((types == "l0").sum()), int((types == "random").sum())
    (20, 5, 15)
    """

    def __init__(
        self,
        n_items: int,
        l0_fraction: float = 0.25,
        random_fraction: float = 0.75,
        target_items: int | None = None,
        temperature: float = 0.25,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_items = whole(n_items, name="n_items")
        self.l0_fraction = number(l0_fraction, name="l0_fraction", within=FRACTION)
        self.random_fraction = number(random_fraction, name="random_fraction", within=FRACTION)
        self._check_fractions()
        wanted = max(1, int(_DEFAULT_SHARE * self.n_items)) if target_items is None else target_items
        self.target_items = whole(wanted, name="target_items", at_most=self.n_items)
        self.n_l0 = round(self.target_items * self.l0_fraction)
        self.n_random = self.target_items - self.n_l0
        start = starting_mean(max(1, self.n_l0), self.n_items)
        self.l0_gate = L0Gate(self.n_items, temperature, start, generator=generator)

    def select(self, data: Data, random_seed: int | None = None) -> tuple[Data, Tensor, NDArray[np.str_]]:
        """Give (selected, indices, types): rows of `data`, ascending int64 indices, `"l0"` or `"random"` for each.

        With `random_seed` (0 or more) the call is repeatable: it takes all its random numbers from that seed.
        Raises InvalidInput where `data` is no tensor and no array, ShapeMismatch where it has not `n_items` rows.
        """
        noise = self.l0_gate.gates.noise if random_seed is None else seeded(random_seed, name="random_seed")
        by_gates, _ = best(self.l0_gate.gates, self.n_l0, noise=noise)
        by_chance = self._others(by_gates, noise)
        indices, order = torch.cat([by_gates, by_chance]).sort()
        types = np.array(["l0"] * self.n_l0 + ["random"] * self.n_random, dtype="<U6")[order.cpu().numpy()]
        return taken(data, indices, axis=0, length=self.n_items), indices, types

    def get_penalty(self) -> Tensor:
        """Give the expected number of open gates."""
        return self.l0_gate.get_penalty()

    def _others(self, chosen: Tensor, noise: Noise) -> Tensor:
        shuffled = noise.permutation(self.n_items).to(chosen.device)
        return shuffled[~torch.isin(shuffled, chosen)][: self.n_random]

    def _check_fractions(self) -> None:
        total = self.l0_fraction + self.random_fraction
        if abs(total - 1) > _FRACTION_TOLERANCE:
            raise InvalidHyperparameter(
                f"l0_fraction + random_fraction is {total:g}; the two must add up to 1", pointer="/random_fraction"
            )
