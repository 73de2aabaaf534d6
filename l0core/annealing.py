"""How a temperature goes from one value to another: the schedules, once."""

import math
from collections.abc import Callable

Annealing = Callable[[float, float, float], float]  # (initial, final, share of the way) -> temperature

ANNEALINGS: dict[str, Annealing] = {
    "exponential": lambda initial, final, way: initial * (final / initial) ** way,
    "linear": lambda initial, final, way: initial + (final - initial) * way,
    "cosine": lambda initial, final, way: final + (initial - final) * (1 + math.cos(math.pi * way)) / 2,
}
