"""What a test runs: settings on a short clock, processes marked in their environment so that stragglers are found."""

import time
import uuid
from pathlib import Path

import psutil

from service.settings import Settings

MARK = "L0TEST_MARK"  # not a setting of ours: it only shows whose child a process is


def quick_settings(folder: Path, *, database_url: str, broker_url: str) -> Settings:
    """Give settings with everything in `folder` and quick leases."""
    return Settings(
        data_dir=folder,
        database_url=database_url,
        broker_url=broker_url,
        lease_seconds=3.0,
        renew_seconds=1.0,
        reap_seconds=0.5,
        republish_seconds=2.0,
        checkpoint_seconds=0.2,
        flush_seconds=0.1,
        stop_seconds=5.0,
    )


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
