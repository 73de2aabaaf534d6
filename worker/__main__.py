"""The worker's process."""

import os
import sys

from service.logging import configure
from service.settings import Settings
from worker.app import run
from worker.identity import identity


def main() -> None:
    """Serve the queues of the settings until told to end."""
    settings = Settings()
    worker = identity(settings)
    configure(settings, process="worker", worker=worker.id)
    _close_standard_output()
    sys.exit(run(settings, worker))


def _close_standard_output() -> None:
    """Leave standard error alone with what is said: Celery takes its leave on the other, in a form of its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ else 1)
    os.close(nowhere)


if __name__ == "__main__":
    main()
