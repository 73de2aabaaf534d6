"""A run that goes on from another run of the same problem: where its schedules are held, and what it is told."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from l0core.context import FindingReport
from l0core.continuing import changed_hyperparameters

_STANDSTILL = 0.01  # of the learning rate: less moves nothing in some hundred epochs


def held_place(epoch: int, epochs: int, held_at: float) -> float:
    """Give the share of its schedules at which a run took its last step; `held_at` where it was held itself, else NaN.

    >>> held_place(500, 500, math.nan), held_place(0, 500, math.nan), held_place(40, 100, 0.7)
    (0.998, 0.0, 0.7)
    """
    return max(0, epoch - 1) / epochs if math.isnan(held_at) else held_at


def doubts(before: Mapping[str, Any], now: Mapping[str, Any], learning_rate: float) -> Iterator[FindingReport]:
    """Give what is worth a warning: hyperparameters that differ, and a learning rate that is as good as none."""
    yield from changed_hyperparameters(before, now)
    if learning_rate < _STANDSTILL * now["learning_rate"]:
        yield FindingReport(
            code="schedule_ended",
            severity="warning",
            message="the cosine schedule it goes on from has ended: the learning rate stays "
            f"{learning_rate:.3g}; give learning_rate_schedule 'constant' to move on",
        )
