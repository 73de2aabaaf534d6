"""Attempts under way: started in a thread, found by their child process, stopped in mid-run, compared bit by bit."""

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from l0core.arrays import FloatArray
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import RunContext
from service.jobs import traces
from service.jobs.models import StoredArtifact, StoredCheckpoint
from service.jobs.values import WorkerIdentity
from service.storage import StoredKey
from service.system import System
from tests.problems import solved
from tests.service.jobs import scenes
from tests.service.jobs.waiting import GENEROUS_SECONDS, until
from worker.execution import execute
from worker.forks import NAME

SEED = 11
EPOCHS = 3000
EVERY_EPOCHS = 200
ENDLESS = 10_000_000
_SETTLING_SECONDS, _A_LITTLE_SECONDS = 2.0, 0.01
PROBLEM = solved(n_targets=6, n_units=60).problem
DRAWN: dict[str, Any] = {"gradient": "sampled", "log_weight_jitter_sd": 0.1}  # every epoch draws random numbers


def submitted(system: System, *, problem: CalibrationProblem = PROBLEM, epochs: int = EPOCHS, **changes: Any) -> str:
    """Submit a job with checkpoints on a problem whose bytes are in the store."""
    asked = {"hyperparameters": DRAWN | {"epochs": epochs}, "seed": SEED, "checkpoint_every": EVERY_EPOCHS}
    return scenes.submitted(system, scenes.keep_problem(system, problem), **(asked | changes))


def undisturbed(epochs: int = EPOCHS, seed: int = SEED, log_every: int | None = None) -> CalibrationResult:
    """Give the result of the same run in this process, from beginning to end."""
    context = RunContext(seed=seed, log_every=log_every)
    result = run(PROBLEM, CalibrationHyperparameters(**DRAWN, epochs=epochs), context)
    assert isinstance(result, CalibrationResult)
    return result


def weights(system: System, job_id: str) -> FloatArray:
    """Give a succeeded job's weights, from the store."""
    with system.database.reading() as session:
        listed = traces.artifact(session, job_id, "calibration_weights.npy")
    assert listed is not None
    with system.store.open(listed.storage_key) as file:
        values: FloatArray = np.load(file, allow_pickle=False)
    return values


def is_whole(system: System, listed: StoredArtifact | StoredCheckpoint) -> bool:
    """Say whether the store gives back the bytes that are listed."""
    with system.store.open(listed.storage_key) as file:
        held = file.read()
    return (len(held), hashlib.sha256(held).hexdigest()) == (listed.size_bytes, listed.sha256)


def latest_checkpoint(system: System, job_id: str) -> StoredCheckpoint | None:
    """Give the checkpoint another attempt would take up."""
    with system.database.reading() as session:
        return traces.latest_checkpoint(session, job_id)


def first_checkpoint(system: System, job_id: str) -> StoredKey | None:
    """Give a checkpoint as soon as the store holds one, listed or not."""
    return next((found for found in system.store.keys(f"jobs/{job_id}/") if "/checkpoint-" in found.key), None)


def leftovers(system: System) -> list[str]:
    """Give what lies in the folder of files on their way in."""
    return [path.name for path in system.store.scratch().iterdir()]


def engine_of(worker: psutil.Process) -> psutil.Process | None:
    """Give the child that runs a job of this process."""
    with suppress(psutil.Error):
        for child in worker.children(recursive=True):
            with suppress(psutil.Error):
                if child.name() == NAME:
                    return child
    return None


def is_gone(process: psutil.Process) -> bool:
    """Say whether a process has ended."""
    with suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


@contextmanager
def held_in_mid_run(system: System, job_id: str, engine: psutil.Process) -> Iterator[int]:
    """Let the engine stand still after a checkpoint that is listed, and in no write; gives the checkpoint's epochs."""
    until(lambda: first_checkpoint(system, job_id))
    stand_still(engine, lambda: latest_checkpoint(system, job_id) is not None and not staged(system))
    try:
        yield until(lambda: latest_checkpoint(system, job_id)).epoch
    finally:
        with suppress(psutil.NoSuchProcess):
            engine.send_signal(signal.SIGCONT)


def stand_still(process: psutil.Process, settled: Callable[[], bool]) -> None:
    """Stop a process where `settled` holds soon after; elsewhere let it go on a little, and stop it again."""
    while True:
        process.send_signal(signal.SIGSTOP)
        with suppress(AssertionError):
            until(settled, _SETTLING_SECONDS)
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(_A_LITTLE_SECONDS)


def engine_log(system: System, job_id: str) -> str:
    """Give what the engine of a job that runs here has printed."""
    logs = system.store.scratch().glob(f"{job_id}-*/engine.log")
    return "".join(log.read_text(encoding="utf-8") for log in logs)


def staged(system: System) -> list[Path]:
    """Give the files that are just being put into the store."""
    return [path for path in system.store.scratch().rglob("tmp*") if path.is_file()]


@dataclass
class Attempt:
    """One `execute` in a thread."""

    system: System
    job_id: str
    future: "Future[bool]"
    draining: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def engine(self) -> psutil.Process:
        """The child process, once it is there."""
        return until(lambda: engine_of(psutil.Process()))

    def held_in_mid_run(self) -> AbstractContextManager[int]:
        """Let the engine stand still after a checkpoint."""
        until(lambda: first_checkpoint(self.system, self.job_id))
        return held_in_mid_run(self.system, self.job_id, self.engine)

    def wait(self) -> None:
        """Wait for the end of the attempt."""
        self.future.result(GENEROUS_SECONDS)


@contextmanager
def attempt(system: System, job_id: str, worker: WorkerIdentity = scenes.WORKER) -> Iterator[Attempt]:
    """Execute the job beside the test; its end is waited for."""
    draining = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, job_id, system, worker, draining)
        made = Attempt(system=system, job_id=job_id, future=future, draining=draining)
        try:
            yield made
        except BaseException:
            draining.set()
            raise
        made.wait()


def executed(system: System, job_id: str) -> None:
    """Execute the job to the end of an attempt."""
    execute(job_id, system, scenes.WORKER, threading.Event())
