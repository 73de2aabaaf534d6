"""The temperature of the gates over a selection: from soft to sharp, in a few steps.

A step costs half an epoch, and its table of moments a little more: the temperature is not another one every epoch.
"""

from l0core.annealing import ANNEALINGS

STEPS = 20
SHARE = 0.5  # of the epochs, over which it falls
HOTTER = 2.0  # at the start, than at the end


def temperature(beta: float, schedule: str, place: float) -> float:
    """Give the temperature at `place`, the share of the epochs that is over; `beta` is the one it ends with.

    >>> [temperature(0.5, "linear", place) for place in (0.0, 0.26, 0.5, 1.0)], temperature(0.5, "constant", 0.0)
    ([1.0, 0.75, 0.5, 0.5], 0.5)
    """
    way = int(place / SHARE * STEPS) / STEPS
    if schedule == "constant" or way >= 1:
        return beta
    return ANNEALINGS[schedule](HOTTER * beta, beta, way)


def settled(schedule: str) -> float:
    """Give the share of the epochs after which the temperature stays."""
    return 0.0 if schedule == "constant" else SHARE
