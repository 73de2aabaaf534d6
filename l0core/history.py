"""What a selection recorded of itself: the loss curves, and the estimates at a few epochs. Never read by the fit."""

import math
from dataclasses import dataclass, field

from l0core.arrays import FloatArray

SNAPSHOTS = 20  # how many epochs keep every target's estimate
_FEWEST, _MOST, _FAR = 25, 250, 100  # logged epochs, and a distance at which all logs take 1 % of the time


def log_distance(epochs: int, log_every: int | None) -> int:
    """Give the distance of two logged epochs: one takes as long as two thirds of an epoch.

    25 are logged up to 2,500 epochs, then every hundredth, then 250.

    >>> [log_distance(epochs, None) for epochs in (10, 500, 10_000, 1_000_000)]
    [1, 20, 100, 4000]
    """
    return log_every if log_every is not None else max(1, min(epochs // _FEWEST, _FAR), epochs // _MOST)


def snapshot_distance(epochs: int, log_every: int | None) -> int:
    """Give the distance of two epochs whose estimates are kept: as logged when asked for, else at most 20 of them."""
    logged = log_distance(epochs, log_every)
    return logged if log_every is not None else logged * max(1, math.ceil(epochs / logged / (SNAPSHOTS - 1)))


@dataclass
class History:
    """`steps[i]` epochs were done when `metrics[name][i]` held; `snapshots[epoch]` are estimates of all targets."""

    steps: list[int] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    snapshots: dict[int, FloatArray] = field(default_factory=dict)

    def add(self, step: int, metrics: dict[str, float]) -> None:
        """Record the numbers of one logged epoch."""
        self.steps.append(step)
        for name, value in metrics.items():
            self.metrics.setdefault(name, []).append(value)
