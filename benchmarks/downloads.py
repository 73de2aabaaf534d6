"""A million active weights in every format: how long a download takes, beside copying the same bytes over a socket.

python benchmarks/downloads.py
"""

import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # the door is at home among the tests

import report

from service.api.weight_formats import FORMATS
from service.db.migrate import upgrade
from service.jobs.values import Batch
from service.settings import Settings
from tests.service.api.door import open_door
from tests.service.api.endings import succeeded

ACTIVE, UNITS = 1_000_000, 1_250_000
TIMES = 5


def main() -> None:
    """Measure each format, and keep the table."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), broker_url="redis://127.0.0.1:1/0")
        upgrade(settings.database)
        with open_door(settings) as door:
            job_id = succeeded(door.system, door.job(door.listed_problem())["id"], weights=_weights(), batch=Batch())
            url, api = f"{door.http.base_url}/v1/jobs/{job_id}/weights", psutil.Process(door.pid)
            rows = [_row(url, name, api) for name in FORMATS]
    columns = ("format", "MB", "s, median of 5", "s, worst", "s over a bare socket", "resident in the API, MB")
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n"
    told = f"{ACTIVE:,} active units of {UNITS:,}; the client reads all bytes and keeps none.\n\n"
    report.keep("downloads", "A million active weights", told + head + "".join(rows))


def _weights() -> np.ndarray:
    draw = np.random.default_rng(1)
    weights = np.zeros(UNITS)
    weights[draw.choice(UNITS, ACTIVE, replace=False)] = draw.gamma(2.0, 50.0, ACTIVE)
    return weights


def _row(url: str, name: str, api: psutil.Process) -> str:
    sizes = [_timed(lambda: _download(url, name)) for _ in range(TIMES)]
    seconds, size = [took for took, _ in sizes], sizes[0][1]
    bare, _ = _timed(lambda: _over_a_socket(size))
    resident = api.memory_info().rss / 2**20
    took = f"{statistics.median(seconds):.2f} | {max(seconds):.2f} | {bare:.3f}"
    return f"| {name} | {size / 1e6:.1f} | {took} | {resident:.0f} |\n"


def _timed(act: Callable[[], int]) -> tuple[float, int]:
    began = time.perf_counter()
    given = act()
    return time.perf_counter() - began, given


def _download(url: str, name: str) -> int:
    with httpx.stream("GET", url, params={"format": name}, timeout=120) as reply:
        reply.raise_for_status()
        return sum(len(part) for part in reply.iter_raw())


def _over_a_socket(size: int) -> int:
    """Send so many bytes from one thread to another over loopback; gives how many came."""
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=lambda: (theirs.sendall(bytes(size)), theirs.close()))
    sender.start()
    came = 0
    while part := ours.recv(1 << 18):
        came += len(part)
    sender.join()
    ours.close()
    return came


if __name__ == "__main__":
    main()
