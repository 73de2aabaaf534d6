"""A calibration as a job runs it, timed between its reports."""

import time
from pathlib import Path
from typing import Any

from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, EpochReport, RunContext


def timed(
    problem: Any, *, log_every: int | None = None, folder: Path | None = None, **settings: Any
) -> tuple[CalibrationResult, float, float]:
    """Run without a refit; give the result, the seconds from the first report to the last, and those of all else.

    With a `folder`, its last state is left there as a checkpoint.
    """
    told: list[float] = []

    def heard(event: object) -> None:
        if isinstance(event, EpochReport):
            told.append(time.perf_counter())

    options = CalibrationHyperparameters(refit=False, **settings)
    policy = None if folder is None else CheckpointPolicy(folder=folder)
    start = time.perf_counter()
    result = run(problem, options, RunContext(seed=1, log_every=log_every, report=heard, checkpoints=policy))
    whole, epochs = time.perf_counter() - start, told[-1] - told[0]
    if not isinstance(result, CalibrationResult):
        raise TypeError(f"a run that nobody stops ended as {result}")
    return result, epochs, whole - epochs


def seconds_an_epoch(problem: Any, epochs: int, **settings: Any) -> tuple[float, float]:
    """Give the seconds of an epoch, and of all that is none."""
    _, between, around = timed(problem, log_every=epochs, epochs=epochs, **settings)
    return between / epochs, around
