"""Every random number of a run, from its seed: who draws what for which epoch. A resumed run draws the same."""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What is drawn; no two share a stream."""

    SPLIT = 0
    WEIGHTS = 1
    ORDER = 2
    GATES = 3


def seed_for(purpose: Purpose, seed: int, epoch: int = 0) -> int:
    """Give the seed (below 2^63) of what is drawn for `purpose` in `epoch`.

    >>> seed_for(Purpose.ORDER, 1, 2) == seed_for(Purpose.ORDER, 1, 2), seed_for(Purpose.ORDER, 1, 2) == seed_for(
    ...     Purpose.GATES, 1, 2
    ... )
    (True, False)
    """
    entropy = np.random.SeedSequence((seed, purpose, epoch))
    return int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
