"""The random part of a hybrid sample: a draw of fixed size with inclusion probabilities that are known.

Units are drawn in proportion to their design weight among those the selection did not choose, by systematic sampling in
a shuffled order; who would be drawn more than once is drawn for certain. With pi the inclusion probabilities (1 for a
unit the selection chose) sum_j d_j x_j / pi_j over the sample is unbiased for the total of x over the whole (Horvitz
and Thompson, JASA 47, 1952).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.baselines import inclusion_probabilities, systematic

NOBODY = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Units in order, whether each was drawn at random, and its inclusion probability."""

    units: NDArray[np.intp]
    random: NDArray[np.bool_]
    chance: FloatArray

    @property
    def types(self) -> NDArray[np.str_]:
        """`l0` or `random` for each."""
        return np.where(self.random, "random", "l0").astype("<U6")

    def expanded(self, design_weights: FloatArray) -> FloatArray:
        """Give the Horvitz-Thompson weight d / pi of each."""
        return design_weights[self.units] / self.chance


def chosen(units: NDArray[np.intp]) -> Sample:
    """Give units that were all chosen by the selection."""
    return Sample(units=np.sort(units), random=np.zeros(units.size, np.bool_), chance=np.ones(units.size))


def with_random(
    by_selection: NDArray[np.intp], design_weights: FloatArray, count: int, rng: np.random.Generator
) -> Sample:
    """Give the units of the selection and `count` more by chance; enough others must have a design weight above 0.

    >>> drawn = with_random(np.array([2]), np.array([1.0, 1.0, 9.0, 2.0]), 2, np.random.default_rng(0))
    >>> drawn.units.size, drawn.chance[drawn.units == 2].tolist(), drawn.chance[drawn.units == 3].tolist()
    (3, [1.0], [1.0])
    """
    chance = chances(by_selection, design_weights, count)
    drawn = systematic(chance, rng)
    units = np.sort(np.concatenate([by_selection, drawn]))
    random = np.isin(units, drawn)
    return Sample(units=units, random=random, chance=np.where(random, chance[units], 1.0))


def chances(by_selection: NDArray[np.intp], design_weights: FloatArray, count: int) -> FloatArray:
    """Give everybody's probability to be among the `count` by chance; 0 for the units of the selection."""
    sizes = design_weights.copy()
    sizes[by_selection] = 0.0
    return inclusion_probabilities(sizes, count, certain=NOBODY)
