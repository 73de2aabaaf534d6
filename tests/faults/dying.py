"""Processes that kill themselves before or after a public act of theirs."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from service.processes import end, spawn
from service.system import System
from tests.service.jobs.waiting import until

DIED = -signal.SIGKILL
_CUSTOM = Path(__file__).parent / "failpoints"


def dying(system: System, who: str, point: str) -> dict[str, str]:
    """Give the environment in which a process with the word `who` in its command line dies at `point`.

    `failpoints/sitecustomize.py` says what a point is.
    """
    paths = [str(_CUSTOM), str(_CUSTOM.parents[2])]
    told = {"L0TEST_DIES": who, "L0TEST_DIE": point}
    return {**system.settings.environment(), **told, "PYTHONPATH": os.pathsep.join(paths)}


def run_to_its_end(command: Sequence[str], environment: dict[str, str], log: Path) -> int:
    """Run a process until it has ended; gives how."""
    with log.open("ab") as output:
        process = spawn(command, environment=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: process.poll() is not None)
        return process.returncode
    finally:
        end(process, 10)
