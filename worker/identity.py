"""Who this worker is."""

import socket
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from l0core.kind import versions_of
from l0core.kinds import KINDS
from l0core.version import VERSION
from service.ids import new_id
from service.jobs.values import WorkerIdentity
from service.settings import Settings
from worker.devices import queues_of


def identity(settings: Settings) -> WorkerIdentity:
    """Give this process a name of its own, with the queues and the device its settings name."""
    return WorkerIdentity(
        id=new_id("wrk"),
        host=socket.gethostname(),
        queues=queues_of(settings),
        device=settings.worker_device,
        versions=versions(),
        kinds=versions_of(KINDS),
    )


def versions() -> dict[str, str]:
    """Give the versions a job's page shows; torch's is read from its metadata, without importing it."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "absent"
    return {"service": VERSION, "engine": VERSION, "torch": torch, "python": python_version()}
