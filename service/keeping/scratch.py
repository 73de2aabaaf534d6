"""Files on their way in whose process was killed: half an upload, half a problem, the folder of an attempt."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

from service.jobs import repository
from service.jobs.states import TERMINAL, Status
from service.logging import log
from service.resources import Resources
from service.storage.held import HELD, is_abandoned

_DAY_SECONDS = 86_400


def remove_leftovers(system: Resources) -> None:
    """Remove what the dead have left in this machine's folder of files on their way in."""
    left = [path for path in system.store.scratch().iterdir() if _is_left(system, path)]
    for path in left:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if left:
        log.info("leftovers_removed", count=len(left))


def is_of_no_living_job(system: Resources, folder: Path) -> bool:
    """Say whether the folder of an attempt belongs to a job that has ended."""
    with system.database.reading() as session:
        job = repository.job_by_id(session, folder.name.partition("-")[0])
    return job is None or Status(job.status) in TERMINAL


def _is_left(system: Resources, path: Path) -> bool:
    if path.name.startswith("job_"):
        return is_of_no_living_job(system, path)
    return is_abandoned(path) or (not path.name.startswith(HELD) and _is_old(path))


def _is_old(path: Path) -> bool:
    """Say whether nothing was written to it for a day: it says nothing of whose it is."""
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > _DAY_SECONDS
    return False
