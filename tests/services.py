"""The whole service for a test: `l0 up` on a free port, its processes marked so that stragglers are found."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from service.processes import end, spawn

MARK = "L0TEST_MARK"  # not a setting of ours: it only shows whose child a process is
_STOP_SECONDS = 60


@contextmanager
def running_service(folder: Path, **settings: str) -> Iterator[str]:
    """Run `l0 up` for the time of the context; gives its address."""
    environment = {**os.environ, **settings}
    process = spawn(up_command(folder), environment=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
    finally:
        end(process, _STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def up_command(folder: Path) -> list[str]:
    """Give the command line of `l0 up` on a free port."""
    return [sys.executable, "-m", "service.cli", "up", "--port", "0", "--data", str(folder)]


def new_mark() -> str:
    """Give a value for MARK that nobody else uses."""
    return uuid.uuid4().hex


def marked_processes(mark: str) -> list[psutil.Process]:
    """Give every living process that carries the mark in its environment."""
    return [process for process in psutil.process_iter() if _environment(process).get(MARK) == mark]


def wait_for_none(mark: str, seconds: float = 30) -> list[str]:
    """Wait until no marked process lives; gives the command lines of those that still do."""
    limit = time.monotonic() + seconds
    while (left := marked_processes(mark)) and time.monotonic() < limit:
        time.sleep(0.1)
    return [" ".join(_command(process)) for process in left]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return {} if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except psutil.Error:
        return {}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
