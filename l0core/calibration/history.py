"""What a selection recorded of itself: the loss curves, and the estimates at a few epochs. Never read by the fit."""

import math
from dataclasses import dataclass, field

from l0core.arrays import FloatArray

SNAPSHOTS = 20  # how many epochs keep every target's estimate
_LOGGED_EPOCHS = 250


def log_distance(epochs: int, log_every: int | None) -> int:
    """Give the distance of two logged epochs."""
    return log_every if log_every is not None else max(1, epochs // _LOGGED_EPOCHS)


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
