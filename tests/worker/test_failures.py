"""The table of failures, over every error of the engine and every way a process can die."""

import errno
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from l0core import errors
from worker.failures import describe, failure_of, failure_of_exit
from worker.messages import FailedMessage

CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
FULL_DISKS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


def all_classes(base: type[errors.L0Error]) -> list[type[errors.L0Error]]:
    return [base, *(each for child in base.__subclasses__() for each in all_classes(child))]


def instance(kind: type[errors.L0Error]) -> errors.L0Error:
    if kind is errors.InfeasibleBudget:
        return errors.InfeasibleBudget("too large", budget=5, available=3)
    if kind is errors.InfeasibleTargets:
        return errors.InfeasibleTargets("out of reach", target=3, wanted=9.0, reached=8.0)
    if kind is errors.Diverged:
        return errors.Diverged("no number", epoch=7)
    if kind is errors.MissingPackage:
        return errors.MissingPackage("numba", needed_for="this kernel")
    return kind("a sentence", pointer="/a/b")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", all_classes(errors.L0Error), ids=lambda kind: kind.__name__)
def test_an_error_of_the_engine_keeps_its_code_its_sentence_and_its_pointer(kind: type[errors.L0Error]) -> None:
    error = instance(kind)
    told = describe(error)
    assert (told.code, told.detail, told.pointer) == (kind.code, error.message, error.pointer)
    assert told.retry is False


@pytest.mark.parametrize("kind", all_classes(errors.L0Error), ids=lambda kind: kind.__name__)
def test_every_error_of_the_engine_becomes_a_failure_with_a_title(kind: type[errors.L0Error]) -> None:
    failure = failure_of(describe(instance(kind)))
    assert failure.code == kind.code
    assert failure.title


def test_no_memory_is_out_of_memory() -> None:
    with pytest.raises(MemoryError) as raised:
        np.empty(2**58)
    told = describe(raised.value)
    assert (told.code, told.retry) == ("out_of_memory", False)


def test_no_memory_on_a_gpu_is_out_of_memory() -> None:
    assert describe(torch.OutOfMemoryError("CUDA out of memory")).code == "out_of_memory"


def test_no_memory_for_a_tensor_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory") as raised:
        torch.empty(2**58)
    assert describe(raised.value).code == "out_of_memory"


@pytest.mark.parametrize("number", FULL_DISKS, ids=errno.errorcode.get)
def test_a_full_disk_is_storage_full(number: int) -> None:
    told = describe(OSError(number, "no room"))
    assert (told.code, told.retry) == ("storage_full", False)


def test_a_file_that_may_not_grow_is_storage_full(tmp_path: Path) -> None:
    with largest_file(1000), pytest.raises(OSError, match="large") as raised:
        (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert describe(raised.value).code == "storage_full"


def test_a_checkpoint_that_finds_no_room_is_storage_full(tmp_path: Path) -> None:
    with largest_file(1000), pytest.raises(Exception, match="os error") as raised:
        save_file({"a": torch.zeros(100_000)}, tmp_path / "a")
    assert describe(raised.value).code == "storage_full"


def test_a_store_that_fails_may_do_better_later() -> None:
    told = describe(OSError(errno.EIO, "input/output error"))
    assert (told.code, told.retry) == ("worker_lost", True)


@pytest.mark.parametrize("error", [ValueError("secret"), KeyError("secret"), AssertionError("secret"), SystemExit(1)])
def test_anything_else_is_a_crash_that_gives_nothing_away(error: BaseException) -> None:
    told = describe(error)
    assert (told.code, told.retry) == ("engine_crashed", False)
    assert type(error).__name__ in told.detail
    assert "secret" not in told.detail


def test_a_failure_is_what_the_child_told() -> None:
    failure = failure_of(FailedMessage(code="diverged", detail="no number", pointer="/a", retry=True))
    assert (failure.code, failure.title) == ("diverged", "The fit diverged")
    assert (failure.detail, failure.pointer, failure.retry) == ("no number", "/a", True)


def test_a_code_without_a_title_has_the_common_one() -> None:
    assert failure_of(FailedMessage(code="unheard_of", detail="x")).title == "The job failed"


@pytest.mark.parametrize("number", list(signal.Signals), ids=lambda number: number.name)
def test_a_signal_is_a_crash_or_a_lost_worker_and_may_be_tried_again(number: signal.Signals) -> None:
    failure = failure_of_exit(-number)
    assert failure.code == ("engine_crashed" if number in CRASHES else "worker_lost")
    assert number.name in failure.detail
    assert failure.retry


SAID = [
    "memory allocation of 1048576 bytes failed\nstack backtrace:\n",
    "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
    "LLVM ERROR: out of memory\nBuffer allocation failed\n",
    "LLVM ERROR: Unable to allocate section memory!\n",
    "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.\n",
]


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.split()[0])
@pytest.mark.parametrize("code", [-signal.SIGABRT, -signal.SIGSEGV, 1])
def test_native_code_that_says_it_found_no_memory_and_crashes_is_out_of_memory(code: int, said: str) -> None:
    failure = failure_of_exit(code, f"some line\n{said}")
    assert (failure.code, failure.title, failure.retry) == ("out_of_memory", "Out of memory", False)


ABORTING = """
import faulthandler, os, resource, sys
import numpy as np
from safetensors.numpy import save_file
faulthandler.enable()
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE"),) * 2)
save_file({"a": np.zeros(10)}, sys.argv[1])
"""


def test_writing_a_checkpoint_without_memory_aborts_and_is_out_of_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ABORTING, str(tmp_path / "checkpoint")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGABRT
    assert failure_of_exit(done.returncode, done.stderr).code == "out_of_memory"


def test_who_is_killed_is_lost_whatever_it_printed() -> None:
    assert failure_of_exit(-signal.SIGKILL, SAID[0]).code == "worker_lost"


@pytest.mark.parametrize("code", [0, 1, 139])
def test_an_exit_without_a_word_is_a_crash(code: int) -> None:
    failure = failure_of_exit(code)
    assert (failure.code, failure.retry) == ("engine_crashed", True)
    assert f"exit code {code}" in failure.detail


def test_a_signal_without_a_name_is_a_lost_worker() -> None:
    assert failure_of_exit(-(signal.SIGRTMIN + 1)).code == "worker_lost"
