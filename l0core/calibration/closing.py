"""When a gate counts as closed for good: its unit is then removed from the fit, and an epoch has so much less to do.

At fixed epochs the gates are checked; a unit whose P(z > 0) is below 1 % at three checks in a row is ready to go. The
units that are ready go together once they are a third of those left: each removal copies what stays.

Not 1e-4, as the design page has it: on the states no gate gets there in 1,000 epochs, for Adam remembers the steep way
down and its steps die out. With 1 % the final loss is the same or up to 2 % lower, and the fit up to 2.4
times faster (docs/decisions/0011).
"""

import math

from l0core.hard_concrete import GateShape

CHECKS = 3
REMOVED = 255  # in the place of a number of checks
_CLOSED_BELOW = 0.01
_BELOW_THE_START = 10
_WORTH_COPYING = 1 / 3


def check_distance(epochs: int) -> int:
    """Give the distance of two epochs at which gates are checked: 50 checks over the fit, or every ten epochs."""
    return max(10, epochs // 50)


def closed_below(shape: GateShape, start: float) -> float:
    """Give the location below which a gate is closed: P(z > 0) below 1 %, and the odds a tenth of those at `start`.

    `start` is the location all gates begin at: one that has not moved has not closed.
    """
    likely = shape.threshold + math.log(_CLOSED_BELOW / (1 - _CLOSED_BELOW))
    return min(likely, start - math.log(_BELOW_THE_START))


def is_due(*, ready: int, left: int, least: int) -> bool:
    """Say whether the units that are ready go now; `least` must stay, and at least one.

    >>> is_due(ready=4, left=10, least=0), is_due(ready=3, left=10, least=0), is_due(ready=4, left=10, least=7)
    (True, False, False)
    """
    return ready >= _WORTH_COPYING * left and left - ready >= max(1, least)
