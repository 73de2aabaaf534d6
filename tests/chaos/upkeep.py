"""What befalls a stack on an ordinary day while it works: a worker dies, services are restarted, all is taken down."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import psutil
from sqlalchemy import func, select

from service.jobs.models import Job
from service.jobs.states import Status
from tests.chaos.clients import Clients, Ledger
from tests.chaos.compose import Stack
from tests.chaos.deployment import Deployment
from tests.chaos.laws import broken_laws
from tests.chaos.storm import CALM_SECONDS, all_ended, body, undisturbed, upload
from tests.service.jobs.waiting import until
from tests.worker import runs

JOBS = 3
EPOCHS = 60_000
_SUBMITTING_SECONDS = 4.0
_TAKEOVER_SECONDS = 120.0


@dataclass(kw_only=True)
class Seen:
    """What was done, how long it took, and what became of the jobs that ran meanwhile."""

    name: str
    seconds: float
    attempts: list[int]
    ledger: Ledger
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Give it as a row of a Markdown table."""
        attempts = ", ".join(f"{n} in {count}" for count, n in sorted(Counter(self.attempts).items()))
        answers = ", ".join(f"{name} {n}" for name, n in sorted(self.ledger.answers.items()))
        return f"| {self.name} | {self.seconds:.0f} s | {attempts} | {answers} | {'; '.join(self.broken) or 'none'} |"


def upkeep(stack: Stack, on: Deployment, tell: Callable[[Seen], None]) -> list[Seen]:
    """Do one thing after the other, each with jobs under way, and look at everything after each."""
    problem_id, promised, seen = upload(on), dict[str, str](), list[Seen]()
    for name, act in _acts(stack, on).items():
        seen.append(_while_working(on, problem_id, name, act))
        promised |= seen[-1].ledger.promised
        seen[-1].broken += [*seen[-1].ledger.breaches, *broken_laws(on, promised, undisturbed)]
        tell(seen[-1])
    return seen


def _acts(stack: Stack, on: Deployment) -> dict[str, Callable[[], None]]:
    services = ("worker", "api", "redis", "postgres")
    rolled = {f"restart each `{name}`": partial(stack.roll, name) for name in services}
    return {
        "`kill -9` a worker, until another one goes on": partial(_kill_one_that_works, on),
        "`docker stop` a worker, start it again": partial(stack.stop_and_start, "worker"),
        **rolled,
        "`down`, `up`": partial(_down_and_up, stack),
    }


def _while_working(on: Deployment, problem_id: str, name: str, act: Callable[[], None]) -> Seen:
    bodies = [body(problem_id, number, EPOCHS) for number in range(JOBS)]
    clients = Clients(on.urls, bodies, _SUBMITTING_SECONDS, name)
    clients.start()
    try:
        until(lambda: _in_mid_run(on))
        began = time.monotonic()
        act()
        seconds = time.monotonic() - began
        until(lambda: clients.have_submitted and all_ended(on), CALM_SECONDS)
    finally:
        clients.stop()
    return Seen(name=name, seconds=seconds, attempts=_attempts(on, clients.ledger), ledger=clients.ledger)


def _attempts(on: Deployment, ledger: Ledger) -> list[int]:
    with on.system.database.reading() as session:
        return list(session.scalars(select(Job.attempt).where(Job.id.in_(ledger.promised.values()))))


def _running(on: Deployment) -> list[str]:
    with on.system.database.reading() as session:
        return list(session.scalars(select(Job.id).where(Job.status == Status.RUNNING.value)))


def _in_mid_run(on: Deployment) -> bool:
    """Say whether a job has a checkpoint to go on from."""
    return any(runs.latest_checkpoint(on.system, job_id) is not None for job_id in _running(on))


def _kill_one_that_works(on: Deployment) -> None:
    """Kill it, and wait until its job is under way again."""
    before = _taken_over(on)
    _a_busy_worker(on).kill()
    until(lambda: _taken_over(on) > before, _TAKEOVER_SECONDS)


def _a_busy_worker(on: Deployment) -> psutil.Process:
    return next(worker.process for worker in on.workers if runs.engine_of(worker.process) is not None)


def _taken_over(on: Deployment) -> int:
    """Count the jobs that are beyond their first attempt."""
    with on.system.database.reading() as session:
        return session.scalars(select(func.count()).where(Job.attempt > 1)).one()


def _down_and_up(stack: Stack) -> None:
    stack.down()
    stack.up()
