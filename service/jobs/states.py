"""The states of a job and the table of legal moves between them."""

from enum import StrEnum


class Status(StrEnum):
    """Where a job stands. Nothing returns to pending; an ended job never changes."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """What a job waits for or does, as far as the service knows; an engine adds its own words."""

    AWAITING_DISPATCH = "awaiting_dispatch"
    NO_GPU_WORKER = "no_gpu_worker"
    NO_WORKER_FOR_KIND = "no_worker_for_kind"
    QUEUED = "queued"
    LOADING = "loading"
    SAVING = "saving"


BLOCKED = frozenset({Stage.NO_GPU_WORKER, Stage.NO_WORKER_FOR_KIND})  # stages of a job that nobody alive can take

MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.RUNNING, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}
TERMINAL = frozenset(status for status, moves in MOVES.items() if not moves)


def sources(target: Status) -> frozenset[Status]:
    """Give the states from which a job may become `target`.

    >>> sorted(sources(Status.SUCCEEDED))
    [<Status.RUNNING: 'running'>]
    """
    return frozenset(status for status, moves in MOVES.items() if target in moves)
