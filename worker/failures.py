"""Every way an attempt can end without a result, and what becomes of the job: one table."""

import errno
import re
import signal

from l0core.errors import L0Error
from service.jobs.values import Failure
from worker.card import CardMissing
from worker.messages import FailedMessage

DEVICE_LOST, ENGINE_CRASHED = "device_lost", "engine_crashed"
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SIGNALS = {int(number): number.name for number in signal.Signals}
_OS_ERROR = re.compile(r"os error (\d+)")
_TITLES = {
    "diverged": "The fit diverged",
    "infeasible_budget": "The record budget cannot be met",
    "infeasible_targets": "The targets cannot be met within the bounds",
    "out_of_memory": "Out of memory",
    DEVICE_LOST: "The worker's card went away",
    ENGINE_CRASHED: "The engine crashed",
    "worker_lost": "The worker was lost",
    "storage_full": "No room to store the result",
    "invalid_hyperparameter": "The hyperparameters do not fit the problem",
}

_OUT_OF_MEMORY = FailedMessage(
    code="out_of_memory",
    detail="the run needs more memory than its worker has; use a smaller problem or a larger worker",
)
_SAYS_NO_MEMORY = re.compile(  # Rust, C++, LLVM, OpenBLAS, the C library
    r"memory allocation (?:of \d+ bytes |still )?failed|std::bad_alloc|buffer allocation failed"
    r"|unable to allocate|cannot allocate memory|out of memory",
    re.IGNORECASE,
)


def describe(error: BaseException) -> FailedMessage:
    """Give what the child says of the exception its run ended in."""
    if isinstance(error, CardMissing):
        return FailedMessage(code=DEVICE_LOST, detail=str(error), retry=True)
    if isinstance(error, L0Error):
        return FailedMessage(code=error.code, detail=error.message, pointer=error.pointer)
    if _no_memory(error):
        return _OUT_OF_MEMORY
    if is_no_room(error):
        return FailedMessage(
            code="storage_full", detail="there is no room left to store the result; make room and submit the job again"
        )
    if isinstance(error, OSError):
        return FailedMessage(
            code="worker_lost", detail=f"reading or storing failed: {type(error).__name__}", retry=True
        )
    return FailedMessage(code=ENGINE_CRASHED, detail=f"the engine raised {type(error).__name__}; the log has it")


def _no_memory(error: BaseException) -> bool:
    """Say whether memory ran out: torch has a class for the GPU and only words for the CPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def is_no_room(error: BaseException) -> bool:
    """Say whether the disk is full: safetensors tells the system's number only in words."""
    number = error.errno if isinstance(error, OSError) else None
    told = _OS_ERROR.search(str(error)) if type(error).__name__ == "SafetensorError" else None
    return (int(told.group(1)) if told else number) in _DISK_FULL


def failure_of(message: FailedMessage) -> Failure:
    """Give the failure a child has told of."""
    return Failure(
        code=message.code,
        title=_TITLES.get(message.code, "The job failed"),
        detail=message.detail,
        pointer=message.pointer,
        retry=message.retry,
    )


def device_lost(reason: str) -> Failure:
    """Give the failure of an attempt whose card went away under it."""
    return Failure(code=DEVICE_LOST, title=_TITLES[DEVICE_LOST], detail=f"during the attempt: {reason}", retry=True)


def failure_of_exit(code: int, printed: str = "") -> Failure:
    """Give the failure of a child that ended without a word to us: by a signal (negative) or an exit code.

    Native code that finds no memory prints so and aborts; `printed` is the end of what the child has printed.
    """
    crashed = code >= 0 or -code in _CRASHES
    if crashed and _SAYS_NO_MEMORY.search(printed):
        return failure_of(_OUT_OF_MEMORY)
    name = ENGINE_CRASHED if crashed else "worker_lost"
    how = f"signal {_SIGNALS.get(-code, -code)}" if code < 0 else f"exit code {code}"
    return Failure(code=name, title=_TITLES[name], detail=f"the engine's process ended by {how}", retry=True)
