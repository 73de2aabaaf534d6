"""`PenaltyTracker`: named series of numbers over a training, as statistics, CSV, data frame or picture."""

import csv
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from l0core.errors import InvalidHyperparameter, MissingPackage

if TYPE_CHECKING:
    import pandas as pd


class PenaltyTracker:
    """Series by name, each as long as it was logged.

    >>> tracker = PenaltyTracker()
    >>> for value in (3.0, 1.0):
    ...     tracker.log("l0", value)
    >>> tracker.get_history("l0"), tracker.get_stats("l0")["mean"]
    ([3.0, 1.0], 2.0)
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}

    def log(self, name: str, value: float | Tensor) -> None:
        """Add a number (or a one-element tensor, also one that asks for gradients) to the series `name`."""
        plain = float(value.detach() if isinstance(value, Tensor) else value)
        self.history.setdefault(name, []).append(plain)

    def get_history(self, name: str) -> list[float]:
        """Give a copy of the series `name`; empty where nothing was logged."""
        return list(self.history.get(name, ()))

    def get_stats(self, name: str) -> dict[str, float]:
        """Give mean, (population) std, min, max and last of the series `name`; empty where nothing was logged."""
        series = np.array(self.get_history(name))
        if not series.size:
            return {}
        with np.errstate(all="ignore"):  # a loss that diverged is inf, and the spread of its series NaN
            numbers = {"mean": series.mean(), "std": series.std(), "min": series.min(), "max": series.max()}
        return {key: float(value) for key, value in (numbers | {"last": series[-1]}).items()}

    def clear(self) -> None:
        """Forget everything."""
        self.history.clear()

    def save_to_csv(self, filepath: str | Path) -> None:
        """Write one column a series; a shorter series ends in empty cells."""
        with Path(filepath).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(self.history)
            rows.writerows(zip_longest(*self.history.values(), fillvalue=""))

    def to_frame(self) -> "pd.DataFrame":
        """Give a pandas data frame, one column a series. Raises MissingPackage where pandas is not installed."""
        pandas = _optional("pandas", needed_for="PenaltyTracker.to_frame")
        return pandas.DataFrame({name: pandas.Series(series) for name, series in self.history.items()})

    def plot_history(self, metrics: list[str] | None = None, save_path: str | Path | None = None) -> None:
        """Draw one panel a series, all of them or those in `metrics`; shown, or written to `save_path`.

        Raises MissingPackage where matplotlib is not installed, InvalidHyperparameter for a series never logged.
        """
        names = list(self.history) if metrics is None else metrics
        for name in names:
            self._check_known(name)
        pyplot = _optional("matplotlib.pyplot", needed_for="PenaltyTracker.plot_history")
        figure, axes = pyplot.subplots(max(1, len(names)), squeeze=False, figsize=(8, 2.4 * max(1, len(names))))
        for axis, name in zip(axes[:, 0], names, strict=False):
            self._draw(axis, name)
        figure.tight_layout()
        _finish(pyplot, figure, save_path)

    def _check_known(self, name: str) -> None:
        if name not in self.history:
            known = ", ".join(map(repr, self.history)) or "nothing"
            raise InvalidHyperparameter(f"metrics names {name!r}; logged so far: {known}", pointer="/metrics")

    def _draw(self, axis: Any, name: str) -> None:
        axis.plot(self.history[name])
        axis.set(ylabel=name, xlabel="logged value")
        axis.grid(alpha=0.3)


def _finish(pyplot: ModuleType, figure: Any, save_path: str | Path | None) -> None:
    if save_path is None:
        pyplot.show()
        return
    figure.savefig(save_path)
    pyplot.close(figure)


def _optional(module: str, *, needed_for: str) -> ModuleType:
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingPackage(package, needed_for=needed_for) from error
