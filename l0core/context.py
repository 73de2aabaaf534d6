"""Everything impure a run needs, handed in: seed, device, where reports and checkpoints go, when to stop.

A kind's `run(problem, hyperparameters, context)` touches no clock, file, network or global generator but through this.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from l0core.findings import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """The run has entered a stage: preparing, selecting, refitting, evaluating."""

    stage: str


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """The numbers of one logged epoch; `metrics` maps the names of the loss curves to values."""

    epoch: int
    epochs: int
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class FindingReport:
    """Something doubtful that was found on the way: the fields of a `Finding` (see `l0core.findings`).

    A second attempt may report the same again: it is listed once.
    """

    code: str
    severity: Severity
    message: str
    target: str | None = None
    index: int | None = None
    value: float | None = None

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Give the report of a finding.

        >>> FindingReport.of(Finding(code="no_support", severity="error", message="nobody", index=3)).index
        3
        """
        return cls(**finding.model_dump())


Report = StageReport | EpochReport | FindingReport


def _ignore(_: Report) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The end of a run that was told to stop: its last checkpoint holds the state after `epoch` epochs."""

    epoch: int


def _forget(_path: Path, _epoch: int) -> None:
    return None


def _raise(error: OSError, _epoch: int) -> None:
    raise error


@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """Where checkpoints are written and how often; `saved(path, epoch)` is called once each is complete on disk.

    One is due after `every_epochs` epochs where that is given, else after `every_seconds`. `missed(error, epoch)` is
    called where one could not be written: the one before is still there, and the run goes on unless it raises.
    """

    folder: Path
    every_epochs: int | None = None
    every_seconds: float = 10.0
    saved: Callable[[Path, int], None] = _forget
    missed: Callable[[OSError, int], None] = _raise

    @property
    def path(self) -> Path:
        """The one file, replaced by each checkpoint."""
        return self.folder / "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a run is given beside its problem and hyperparameters.

    `seed` is the source of every random number of the run. `log_every` is the distance of two logged epochs (None:
    25 to 250 over the run, see `history.log_distance`). `clock` gives seconds and only times things. `should_stop` is
    asked once an epoch: when it says yes the run writes a last checkpoint and ends with what it has. `resume_from` is a
    checkpoint of the same run: problem, hyperparameters and seed. `continue_from` is one of any run of the same
    problem: this run begins where that one stood and takes its own epochs more, with the schedules of learning rate and
    budget held at their last value; what its hyperparameters changed is reported as a finding. The first of the two
    that is given holds.
    """

    seed: int = 0
    device: str = "cpu"
    report: Callable[[Report], None] = _ignore
    should_stop: Callable[[], bool] = _never
    clock: Callable[[], float] = time.perf_counter
    log_every: int | None = None
    checkpoints: CheckpointPolicy | None = None
    resume_from: Path | None = None
    continue_from: Path | None = None
