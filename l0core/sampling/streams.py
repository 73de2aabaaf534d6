"""The random numbers of a run, each purpose with a stream of its own: one more draw here changes nothing there."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What the numbers are for; the selection's own are drawn from the run's seed itself."""

    COVERAGE = 1
    CHANCES = 2
    COMPARISONS = 3


def stream(seed: int, purpose: Stream) -> np.random.Generator:
    """Give the generator of a purpose, always the same for a seed.

    >>> bool(stream(1, Stream.CHANCES).random() == stream(1, Stream.COMPARISONS).random())
    False
    """
    return np.random.default_rng(np.random.SeedSequence((seed, purpose)))
