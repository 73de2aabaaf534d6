"""What goes wrong in a storm: each fault strikes something, and says when what is undone."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import psutil

from tests.chaos.databases import Repair
from tests.chaos.deployment import QUICK, Deployment, Part
from tests.worker.runs import engine_of

LEASE = QUICK["lease_seconds"]


@dataclass(frozen=True, kw_only=True)
class Struck:
    """Something that is out of order for a while."""

    seconds: float
    repair: Repair


Fault = Callable[[Deployment, Random], Struck | None]


def kill_a_worker(on: Deployment, dice: Random) -> Struck | None:
    """Kill -9 a worker; its engine must end by itself."""
    return _killed(dice.choice(on.workers))


def kill_an_engine(on: Deployment, dice: Random) -> Struck | None:
    """Kill -9 the process that computes."""
    with suppress(psutil.NoSuchProcess):
        if (engine := _an_engine(on, dice)) is not None:
            engine.kill()
    return None


def kill_a_nursery(on: Deployment, dice: Random) -> Struck | None:
    """Kill -9 the process that forks engines; the engine it has forked ends with it."""
    with suppress(psutil.NoSuchProcess):
        if (nursery := _a_nursery(on, dice)) is not None:
            nursery.kill()
    return None


def freeze_a_nursery(on: Deployment, dice: Random) -> Struck | None:
    """Stop the process that forks engines for a while."""
    with suppress(psutil.NoSuchProcess):
        if (nursery := _a_nursery(on, dice)) is not None:
            return _frozen(nursery, dice.uniform(0.2, 1.5) * LEASE)
    return None


def freeze_a_worker(on: Deployment, dice: Random) -> Struck | None:
    """Stop a worker for less or more than its lease, and let it go on."""
    seconds = dice.uniform(0.3, 2.5) * LEASE
    with suppress(psutil.NoSuchProcess):
        return _frozen(dice.choice(on.workers).process, seconds)
    return None


def freeze_an_engine(on: Deployment, dice: Random) -> Struck | None:
    """Stop the process that computes for a while."""
    with suppress(psutil.NoSuchProcess):
        if (engine := _an_engine(on, dice)) is not None:
            return _frozen(engine, dice.uniform(0.2, 1.5) * LEASE)
    return None


def drain_a_worker(on: Deployment, dice: Random) -> Struck | None:
    """Tell a worker to end, as a deployment does."""
    with suppress(psutil.NoSuchProcess):
        dice.choice(on.workers).process.terminate()
    return None


def kill_an_api(on: Deployment, dice: Random) -> Struck | None:
    """Kill -9 an API."""
    return _killed(dice.choice(on.apis))


def restart_the_broker(on: Deployment, dice: Random) -> Struck | None:
    """Kill the broker and start it again a little later."""
    on.broker.kill()
    return Struck(seconds=dice.uniform(0.1, LEASE), repair=on.broker.start)


def empty_the_broker(on: Deployment, _dice: Random) -> Struck | None:
    """Let the broker forget all messages."""
    on.broker.forget_everything()
    return None


def freeze_the_database(on: Deployment, dice: Random) -> Struck | None:
    """Let the database serve nobody for a while."""
    return Struck(seconds=dice.uniform(0.5, 1.5) * LEASE, repair=on.database.freeze())


def crash_the_database(on: Deployment, dice: Random) -> Struck | None:
    """Let the database die."""
    return Struck(seconds=dice.uniform(0.1, 1.0) * LEASE, repair=on.database.crash())


FAULTS: dict[Fault, str] = {  # and what of there is only one: no second fault befalls it before the first is over
    kill_a_worker: "",
    kill_an_engine: "",
    kill_a_nursery: "",
    freeze_a_nursery: "",
    freeze_a_worker: "",
    freeze_an_engine: "",
    drain_a_worker: "",
    kill_an_api: "",
    restart_the_broker: "broker",
    empty_the_broker: "broker",
    freeze_the_database: "database",
    crash_the_database: "database",
}


def _an_engine(on: Deployment, dice: Random) -> psutil.Process | None:
    engines = [engine for worker in on.workers if (engine := _engine_of(worker)) is not None]
    return dice.choice(engines) if engines else None


def _a_nursery(on: Deployment, dice: Random) -> psutil.Process | None:
    engine = _an_engine(on, dice)
    return None if engine is None else engine.parent()


def _engine_of(worker: Part) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        return engine_of(worker.process)
    return None


def _killed(part: Part) -> Struck | None:
    with suppress(psutil.NoSuchProcess):
        part.process.kill()
    return None


def _frozen(process: psutil.Process, seconds: float) -> Struck:
    process.suspend()
    return Struck(seconds=seconds, repair=lambda: _resume(process))


def _resume(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.resume()
