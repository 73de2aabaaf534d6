"""One CUDA card: who has it on this machine, and whether it is there, which is asked in a process that ends.

As a program (`python -m worker.card cuda:0`) it is that process: no worker ever loads torch or holds a CUDA context.
"""

import fcntl
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self

_PROBE_SECONDS = 60.0
_POLL_SECONDS = 0.1
_WORKER, _JOB = "worker", "job"


class CardTaken(Exception):
    """Another worker on this machine has the card."""


class CardMissing(Exception):
    """The card is not there, or torch cannot use it."""


class CardLost(Exception):
    """The card went away under a worker, which can do no more; the message says why."""


@contextmanager
def taken_by_worker(device: str, patience_seconds: float) -> Iterator[None]:
    """Hold a card as its only worker; waits a while for one that is just ending, then raises CardTaken."""
    with _lock_file(device, _WORKER) as lock:
        limit = time.monotonic() + patience_seconds
        while not _try(lock):
            if time.monotonic() > limit:
                raise CardTaken(
                    f"another worker of this machine has the card {device}, and a card runs one job at a time; "
                    "end it, or name another card by L0_WORKER_DEVICE"
                )
            time.sleep(_POLL_SECONDS)
        yield


@contextmanager
def taken_by_job(device: str) -> Iterator[None]:
    """Hold a card for one job, waiting for the engine of a killed worker that is just leaving it."""
    with _lock_file(device, _JOB) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _try(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _lock_file(device: str, holder: str) -> Iterator[int]:
    """Open the file whose lock stands for the card; whatever way its holder ends, the system lets go of the lock."""
    path = Path(tempfile.gettempdir()) / f"l0-card-{card_name(device, os.environ)}.{holder}"
    try:
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # it may be another user's
    except FileNotFoundError:
        lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        yield lock
    finally:
        os.close(lock)


def card_name(device: str, environment: Mapping[str, str]) -> str:
    """Give the card behind a device: CUDA_VISIBLE_DEVICES counts the cards of a process anew.

    >>> card_name("cuda:1", {"CUDA_VISIBLE_DEVICES": "2,5"}), card_name("cuda", {})
    ('5', '0')
    """
    number = int(device.partition(":")[2] or 0)
    visible = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    name = visible[number] if number < len(visible) and visible[number] else str(number)
    return re.sub(r"[^\w-]", "-", name)


def check(device: str) -> None:
    """Raise CardMissing where torch cannot use the card. For a process that ends: torch is loaded here."""
    try:
        import_module("l0core.tensors").device(device)
    except ValueError as error:
        raise CardMissing(f"the card {device} is not there: {error}") from error


class Probe:
    """A process that looks for a card."""

    def __init__(self, device: str, environment: Mapping[str, str]) -> None:
        self._device, self._limit = device, time.monotonic() + _PROBE_SECONDS
        command = [sys.executable, "-m", "worker.card", device]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def looks(self) -> bool:
        """Whether it still looks; one that takes too long has found nothing."""
        return self._process.poll() is None and time.monotonic() < self._limit

    def why_missing(self) -> str | None:
        """Give what stands in the way of using the card; None where nothing does."""
        if self._process.poll() == 0:
            return None
        told = self._process.stdout if self._has_ended else None
        said = told.read().decode(errors="replace").strip() if told is not None else ""
        return said or f"the card {self._device} does not answer"

    @property
    def _has_ended(self) -> bool:
        return self._process.poll() is not None


def why_missing(device: str, environment: Mapping[str, str]) -> str | None:
    """Look for a card and wait for the answer."""
    with Probe(device, environment) as probe:
        while probe.looks:
            time.sleep(_POLL_SECONDS)
        return probe.why_missing()


def main() -> None:
    """Look for the card that is the only argument: exit 0, or say what is wrong with it."""
    try:
        check(sys.argv[1])
    except CardMissing as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
