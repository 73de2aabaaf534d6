"""A storm: jobs are submitted while workers, APIs, broker and database are struck; then what is left is examined."""

import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from l0core.calibration.result import CalibrationResult
from service.client import Client
from service.jobs.models import Job
from tests.chaos.clients import Clients, Ledger
from tests.chaos.deployment import Deployment, deployment
from tests.chaos.faults import FAULTS, Struck
from tests.chaos.laws import broken_laws
from tests.service.jobs.waiting import until
from tests.services import wait_for_none
from tests.worker import runs

EPOCHS = 40_000
LOG_EVERY = 1000
SEEDS = 6  # different jobs; the others repeat them
CALM_SECONDS = 1200.0
_TICK_SECONDS = 0.1
_MOST_ATTEMPTS = 100


@dataclass(kw_only=True)
class Report:
    """What a storm did and what became of it."""

    kind: str
    seed: int
    seconds: float
    struck: Counter[str] = field(default_factory=Counter)
    ledger: Ledger = field(default_factory=Ledger)
    attempts: list[int] = field(default_factory=list)
    calm_after: float = 0.0
    starts: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Give it as Markdown."""
        faults = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in sorted(self.struck.items()))
        attempts = ", ".join(f"{n} in {count}" for count, n in sorted(Counter(self.attempts).items()))
        rows = {
            "faults": f"{sum(self.struck.values())}: {faults}",
            "jobs": f"{len(self.attempts)}; by attempts needed: {attempts}",
            "starts": ", ".join(f"{name} {n}" for name, n in self.starts.items()),
            "answers to clients": ", ".join(f"{name} {n}" for name, n in sorted(self.ledger.answers.items())),
            "all ended": f"{self.calm_after:.0f} s after the last fault",
            "laws broken": "; ".join(self.broken) or "none",
        }
        head = f"## {self.kind}, {self.seconds:.0f} s, seed {self.seed}\n\n| | |\n|---|---|\n"
        return head + "".join(f"| {name} | {told} |\n" for name, told in rows.items())


def storm(kind: str, folder: Path, *, jobs: int, seconds: float, seed: int, every: float = 3.0) -> Report:
    """Let a storm pass over a deployment of its own, and examine what it has left."""
    report = Report(kind=kind, seed=seed, seconds=seconds)
    with deployment(kind, folder) as on:
        pass_over(on, report, jobs=jobs, every=every)
    report.broken += [f"still runs: {command}" for command in wait_for_none(on.mark)]
    return report


def pass_over(on: Deployment, report: Report, *, jobs: int, every: float) -> None:
    """Let a storm pass over a deployment; `report` tells how long and from which seed, and is filled in."""
    problem_id = upload(on)
    clients = Clients(on.urls, [body(problem_id, number) for number in range(jobs)], report.seconds * 0.7)
    report.ledger = clients.ledger
    clients.start()
    try:
        _strike(on, Random(report.seed), report.seconds, every, report.struck)
        _calm(on, clients, report)
    finally:
        clients.stop()
    report.starts = {part.name: part.starts for part in on.parts}
    report.broken = [*report.ledger.breaches, *broken_laws(on, report.ledger.promised, undisturbed)]


def undisturbed(job: Job) -> CalibrationResult:
    """Give the result of a job of a storm where nothing came in between."""
    return _undisturbed(job.hyperparameters["epochs"], job.seed)


@cache
def _undisturbed(epochs: int, seed: int) -> CalibrationResult:
    return runs.undisturbed(epochs, seed, LOG_EVERY)


def upload(on: Deployment) -> str:
    """Register the problem of all jobs of a storm; gives its id."""
    given = runs.PROBLEM
    with Client(on.urls[0]) as client:
        made = client.problem(
            given.matrix, given.targets, initial_weights=given.design_weights, target_names=given.names
        )
    assert made["sha256"] == given.sha256
    return str(made["id"])


def body(problem_id: str, number: int, epochs: int = EPOCHS) -> dict[str, Any]:
    """Give what a client asks for in a storm."""
    return {
        "kind": "calibration",
        "problem_id": problem_id,
        "hyperparameters": runs.DRAWN | {"epochs": epochs},
        "seed": number % SEEDS,
        "device": "cpu",
        "max_attempts": _MOST_ATTEMPTS,
        "log_every": LOG_EVERY,
    }


def _strike(on: Deployment, dice: Random, seconds: float, every: float, struck: Counter[str]) -> None:
    """Strike something every few seconds, repair what is due, start again what has died."""
    over = time.monotonic() + seconds
    due: list[tuple[float, str, Struck]] = []
    next_at = time.monotonic() + every
    while time.monotonic() < over or due:
        due = _repaired(due, time.monotonic())
        if next_at <= time.monotonic() < over:
            next_at = time.monotonic() + dice.uniform(0.3, 1.7) * every
            due += _struck(on, dice, {subject for _, subject, _ in due if subject}, struck)
        on.keep_alive()
        time.sleep(_TICK_SECONDS)


def _struck(on: Deployment, dice: Random, taken: set[str], struck: Counter[str]) -> list[tuple[float, str, Struck]]:
    fault, subject = dice.choice([item for item in FAULTS.items() if item[1] not in taken])
    lasting = fault(on, dice)
    struck[fault.__name__] += 1
    return [] if lasting is None else [(time.monotonic() + lasting.seconds, subject, lasting)]


def _repaired(due: list[tuple[float, str, Struck]], now: float) -> list[tuple[float, str, Struck]]:
    for at, _, struck in due:
        if at <= now:
            struck.repair()
    return [item for item in due if item[0] > now]


def _calm(on: Deployment, clients: Clients, report: Report) -> None:
    """Wait until every promised job has ended and what was left behind is cleared away."""
    began = time.monotonic()
    until(lambda: _kept_alive(on) and clients.have_submitted and all_ended(on), CALM_SECONDS)
    report.calm_after = time.monotonic() - began
    with on.system.database.reading() as session:
        report.attempts = list(session.scalars(select(Job.attempt)))


def _kept_alive(on: Deployment) -> bool:
    on.keep_alive()
    return True


def all_ended(on: Deployment) -> bool:
    """Say whether every job of the table has ended: not that one knows of, while a database comes back."""
    try:
        with on.system.database.reading() as session:
            return session.scalar(select(Job.id).where(Job.finished_at.is_(None)).limit(1)) is None
    except OperationalError:
        return False
