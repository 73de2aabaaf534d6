"""A loss that is not the square, walked down as squares that count more or less, row by row.

The losses are concave functions phi of e^2 (`losses`). Of an uncertain error E loss(e) <= phi(E e^2), and phi lies
below its tangents: sum_i omega_i phi'(x_i) E e_i^2 touches it from above at x_i = E e_i^2, up to a constant, and is a
sum of squares like any other. Every few epochs the tangents are drawn anew where the walk stands (majorise, minimise).

The slope of |e| does not end at 0: once every target is met, an uncertain gate costs more than a closed one saves, and
none would ever close. So the tip is rounded off, from errors of 100 % at the start to 0.3 %: at first all rows count
alike, as with squares, then more and more as their errors bid.
"""

from dataclasses import replace

import numpy as np
import torch

from l0core.arrays import FloatArray
from l0core.calibration.descent import Landscape
from l0core.calibration.kernels.norms import squared_norms, squared_products
from l0core.calibration.objective import Objective

DISTANCE = 10  # epochs between two tangents
SHARE = 0.8  # of the epochs, over which the rounding falls
_ROUNDED_FIRST, _ROUNDED_LAST = 1.0, 0.003


def mean_squares(objective: Objective, rows: FloatArray, variance: FloatArray) -> FloatArray:
    """Give E e_i^2 from the estimates M E(w z) and each unit's variance of w z."""
    residual = objective.factor * rows - objective.goal
    spread = objective.factor**2 * squared_products(objective.plain, variance)
    return np.asarray((residual**2 + spread) / objective.omega)


def expected_loss(objective: Objective, square: FloatArray) -> float:
    """Give sum_i omega_i phi(E e_i^2), what the walk goes down: the expected loss at most, and for squares itself."""
    return float(objective.omega @ objective.cost.of_square(square))


def rounding(place: float) -> float:
    """Give the error below which the loss is a square, at `place`, the share of the epochs that is over.

    >>> [round(rounding(place), 3) for place in (0.0, 0.4, 0.8, 1.0)]
    [1.0, 0.055, 0.003, 0.003]
    """
    way = min(1.0, place / SHARE)
    return float(_ROUNDED_FIRST * (_ROUNDED_LAST / _ROUNDED_FIRST) ** way)


def tangents(objective: Objective, square: FloatArray, place: float) -> FloatArray:
    """Give how much the square of each row's error counts, from E e_i^2.

    Where the loss is capped below the rounding, all rows count as much less as keeps the slope of small errors.
    """
    whole = rounding(place)
    tip = min(whole, float(objective.cost.of_square(np.array(np.inf))) / 2)
    return objective.cost.importance(np.maximum(square, tip**2)) * (tip / whole)


def weighed(objective: Objective, landscape: Landscape, importance: FloatArray) -> tuple[Landscape, FloatArray]:
    """Give the landscape with the rows counting so much, and ||a_j||^2 there."""
    root = np.sqrt(importance)
    norms = squared_norms(objective.plain, objective.factor * root)
    numbers = {"factor": objective.factor * root, "goal": objective.goal * root, "squared_norms": norms}
    there = {name: torch.as_tensor(x, dtype=torch.float32).to(landscape.goal.device) for name, x in numbers.items()}
    return replace(landscape, **there), norms  # type: ignore[arg-type]  # three of its tensors
