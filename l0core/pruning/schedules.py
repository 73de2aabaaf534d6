"""What changes over the epochs of a run: which phase it is in, steps of weights and gates, temperature."""

import math
from dataclasses import dataclass

from l0core.annealing import ANNEALINGS
from l0core.pruning.options import PruningHyperparameters

_LAST_RATE = 0.05  # of the learning rate, at the end of a phase
_GATE_RATE = 10.0  # times that of weights: gates have a long way to go from open to closed
_TRAVEL = 15.0  # log_alpha that a gate could go at least, however few steps there are
_FASTEST_GATES = 0.5


@dataclass(frozen=True, kw_only=True)
class Schedules:
    """`held_at` is the share of its schedules at which a run stays that goes on from another; NaN where it does not."""

    options: PruningHyperparameters
    steps_per_epoch: int
    held_at: float = math.nan

    def has_gates(self, epoch: int) -> bool:
        """Say whether `epoch`, counted from 0, trains gates; else the chosen weights."""
        return epoch < self.options.epochs

    def place(self, epoch: int) -> float:
        """Give the share of its phase that is over when `epoch` begins."""
        if not self.has_gates(epoch):
            return (epoch - self.options.epochs) / self.options.finetune_epochs
        return epoch / self.options.epochs if math.isnan(self.held_at) else self.held_at

    def learning_rate(self, epoch: int) -> float:
        """Give Adam's step on weights in `epoch`."""
        fallen = (1 + math.cos(math.pi * self.place(epoch))) / 2
        return self.options.learning_rate * (_LAST_RATE + (1 - _LAST_RATE) * fallen)

    def gate_rate(self, epoch: int) -> float:
        """Give Adam's step on gates in `epoch`; the cosine would halt them before they are where they go."""
        steps = self.steps_per_epoch * self.options.epochs
        return min(_FASTEST_GATES, max(_GATE_RATE * self.options.learning_rate, _TRAVEL / steps))

    def temperature(self, epoch: int) -> float:
        """Give the gates' temperature in `epoch`: exponential from the first to the last epoch with gates."""
        own = min(1.0, epoch / max(1, self.options.epochs - 1))
        way = own if math.isnan(self.held_at) else self.held_at
        return ANNEALINGS["exponential"](self.options.temperature_start, self.options.temperature_end, way)
