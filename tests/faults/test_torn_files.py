"""Worker and engine killed at one moment of a durable write after the other: nothing that is listed is ever torn."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.jobs import traces
from service.keeping import orphans, scratch
from service.system import System
from tests.faults.test_workers_killed import assert_undisturbed
from tests.service.jobs import scenes
from tests.service.keeping import shelves
from tests.worker import runs

MOMENTS = (
    "before_fsync checkpoint.safetensors",
    "after_commit checkpoints",
    "after_rename checkpoint.safetensors",
    "before_rename report.html",
    "after_commit artifacts",
)
_EXECUTE = """
import sys, threading
from service.settings import Settings
from service.system import System
from tests.service.jobs.scenes import WORKER
from worker.execution import execute
execute(sys.argv[1], System.open(Settings()), WORKER, threading.Event())
"""


def killed_at(system: System, job_id: str, moment: str) -> None:
    """Run an attempt in processes of their own that die at that moment."""
    path = os.pathsep.join([str(Path(__file__).parent / "crashing"), *filter(None, sys.path)])
    environment = {**system.settings.environment(), "PYTHONPATH": path, "L0TEST_CRASH": moment}
    done = subprocess.run([sys.executable, "-c", _EXECUTE, job_id], env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def assert_nothing_is_torn(system: System, job_id: str) -> None:
    """Read back every checkpoint and every artifact that is listed."""
    with system.database.reading() as session:
        latest, files = traces.latest_checkpoint(session, job_id), traces.artifacts(session, job_id)
    assert latest is not None
    assert runs.is_whole(system, latest)
    assert all(runs.is_whole(system, file) for file in files)
    assert bool(files) == (scenes.job(system, job_id).status == "succeeded")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_killed_at_every_moment_of_a_write_has_the_result_of_an_undisturbed_run(system: System) -> None:
    job_id = runs.submitted(system, max_attempts=len(MOMENTS))
    for moment in MOMENTS:
        scenes.expire(system, job_id)
        killed_at(system, job_id, moment)
        assert_nothing_is_torn(system, job_id)
    job = scenes.job(system, job_id)
    assert (job.status, job.attempt) == ("succeeded", len(MOMENTS))
    assert "checkpoint_unusable" not in [event.data.get("code") for event in scenes.events(system, job_id)]
    assert_undisturbed(system, job_id)
    assert_the_sweep_leaves_what_is_named(system, job_id)


def assert_the_sweep_leaves_what_is_named(system: System, job_id: str) -> None:
    shelves.age_everything(system)
    with system.database.reading() as session:
        named = shelves.named(session, job_id)
    stored = {key for key in shelves.keys(system) if key.startswith("jobs/")}
    orphans.remove(system, shelves.never)
    scratch.remove_leftovers(system)
    assert stored > named
    assert {key for key in shelves.keys(system) if key.startswith("jobs/")} == named
    assert runs.leftovers(system) == []
