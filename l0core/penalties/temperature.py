"""The temperature of gates over a training: from soft to sharp."""

from torch import nn

from l0core.annealing import ANNEALINGS
from l0core.gated import gated_modules
from l0core.scalars import POSITIVE, choice, number, whole


class TemperatureScheduler:
    """A temperature that goes from `initial_temp` to `final_temp` over `anneal_epochs` epochs and stays there.

    Raises InvalidHyperparameter for temperatures not above 0, fewer than 1 epoch, or an unknown schedule.

    >>> scheduler = TemperatureScheduler(initial_temp=1.0, final_temp=0.1, anneal_epochs=10, schedule="linear")
    >>> [round(scheduler.get_temperature(epoch), 2) for epoch in (0, 5, 10, 99)]
    [1.0, 0.55, 0.1, 0.1]
    """

    def __init__(
        self,
        initial_temp: float = 2.0,
        final_temp: float = 0.1,
        anneal_epochs: int = 100,
        schedule: str = "exponential",
    ) -> None:
        self.initial_temp = number(initial_temp, name="initial_temp", within=POSITIVE)
        self.final_temp = number(final_temp, name="final_temp", within=POSITIVE)
        self.anneal_epochs = whole(anneal_epochs, name="anneal_epochs")
        self.schedule = choice(schedule, name="schedule", choices=ANNEALINGS)

    def get_temperature(self, epoch: int) -> float:
        """Give the temperature of `epoch`, counted from 0."""
        way = whole(epoch, name="epoch", at_least=0) / self.anneal_epochs
        return self.final_temp if way >= 1 else ANNEALINGS[self.schedule](self.initial_temp, self.final_temp, way)


def update_temperatures(model: nn.Module, temperature: float) -> None:
    """Give every gate of `model` this temperature (> 0): layers, gates, calibrations.

    >>> from l0core import L0Linear
    >>> net = nn.Sequential(L0Linear(4, 3))
    >>> update_temperatures(net, 0.25)
    >>> net[0].gates.temperature
    0.25
    """
    temperature = number(temperature, name="temperature", within=POSITIVE)
    for _, module in gated_modules(model):
        module.set_temperature(temperature)
