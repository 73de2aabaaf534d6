"""An engine that is given no more memory: its job fails in words, its worker takes the next one."""

import signal

import numpy as np
import psutil
import pytest
import scipy.sparse as sp

from l0core.calibration.problem import CalibrationProblem
from service.system import System
from tests.faults.processes import holder, workers
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
N_TARGETS = 8_000
ROOM_BYTES = 128 * 2**20


def ravenous() -> CalibrationProblem:
    """Give a problem that is small until the refit: one unit counts in every target, so that each pair shares a unit.

    Which pairs do takes half a gigabyte, and is too much to ask for the dense optimum beforehand.
    """
    targets = np.arange(N_TARGETS)
    columns = np.concatenate([np.zeros(N_TARGETS, np.int64), 1 + targets % 50])
    matrix = sp.csr_array((np.ones(2 * N_TARGETS), (np.tile(targets, 2), columns)), shape=(N_TARGETS, 51))
    return CalibrationProblem.build(matrix, np.full(N_TARGETS, 2.5), protected_units=[0])


def limit(engine: psutil.Process, room: int) -> None:
    """Let a process have so much more address space than it has."""
    most = engine.memory_info().vms + room
    engine.rlimit(psutil.RLIMIT_AS, (most, most))


def assert_out_of_memory(system: System, job_id: str) -> None:
    """See that the job failed at its first attempt and says why."""
    job = scenes.job(system, job_id)
    assert job.error is not None
    assert (job.status, job.attempt, job.error["code"]) == ("failed", 1, "out_of_memory")
    assert "needs more memory than its worker has" in job.error["detail"]


@on_sqlite
def test_a_job_that_needs_more_memory_than_there_is_fails_and_the_next_one_succeeds(system: System) -> None:
    with workers(system, 1) as (worker,):
        job_id = runs.submitted(system, problem=ravenous(), epochs=800)
        following = runs.submitted(system, epochs=5)
        _, engine = holder(system, job_id, [worker])
        with runs.held_in_mid_run(system, job_id, engine):
            limit(engine, ROOM_BYTES)
        until(lambda: scenes.job(system, following).status == "succeeded")
        assert worker.popen.poll() is None
    assert_out_of_memory(system, job_id)
    assert scenes.job(system, job_id).stage == "refitting"
    assert runs.is_gone(engine)
    assert runs.leftovers(system) == []


@on_sqlite
def test_an_engine_that_aborts_is_out_of_memory_where_it_has_said_so(system: System) -> None:
    """Where native code finds no memory Python prints the stacks of its threads after the one line that says why."""
    job_id = runs.submitted(system)
    with runs.attempt(system, job_id) as attempt, attempt.held_in_mid_run():
        (log,) = system.store.scratch().glob(f"{job_id}-*/engine.log")
        with log.open("a") as file:
            file.write("LLVM ERROR: Unable to allocate section memory!\n" + "a line of a stack\n" * 300)
        attempt.engine.send_signal(signal.SIGABRT)
    assert_out_of_memory(system, job_id)
