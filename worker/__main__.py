"""The worker's process."""

import os
import sys
from dataclasses import replace

from service.db.revision import WrongRevision, check_start
from service.logging import configure
from service.settings import Settings
from worker.app import run
from worker.card import CardMissing, CardTaken
from worker.devices import CannotStart, check, on_its_device, queues_of
from worker.identity import identity


def main() -> None:
    """Serve the queues of the settings until told to end."""
    settings = Settings()
    worker = identity(settings)
    configure(settings, process="worker", worker=worker.id)
    _close_standard_output()
    try:
        check(settings)
        check_start(settings.database, settings.migration_wait_seconds)
        with on_its_device(settings) as usable:
            sys.exit(run(usable, replace(worker, queues=queues_of(usable), device=usable.worker_device)))
    except (WrongRevision, CannotStart, CardTaken, CardMissing) as error:
        sys.exit(str(error))


def _close_standard_output() -> None:
    """Leave standard error alone with what is said: Celery takes its leave on the other, in a form of its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ else 1)
    os.close(nowhere)


if __name__ == "__main__":
    main()
