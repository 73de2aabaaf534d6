"""The worker's process."""

import sys

from service.logging import configure
from service.settings import Settings
from worker.app import run


def main() -> None:
    """Serve the queues of the settings until told to end."""
    settings = Settings()
    configure(settings, process="worker")
    sys.exit(run(settings))


if __name__ == "__main__":
    main()
