"""How fast a gigabyte is uploaded, beside a plain copy to the same disk; and what the API holds in memory meanwhile.

    python -m benchmarks.uploads

The real API process, a client over loopback, as it is, as gzip and as zstd. The peer copies the same bytes
to the same folder and syncs them; both are asked in turn, three times. Writes benchmarks/results/uploads.md.
"""

import gzip
import http.client
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sqlalchemy import delete

from benchmarks import report
from service.db.migrate import upgrade
from service.problems.content_types import NPZ
from service.problems.encodings import zstd
from service.problems.models import Upload
from service.settings import Settings
from tests.service.api.door import Door, open_door, resident_bytes

BYTES = 10**9
ROUNDS = 3
ASKED = 200.0  # MB/s are fast enough on any disk
MOST_RESIDENT = 150.0
_ENCODINGS = ("identity", "gzip", "zstd")
_HOW = f"""{BYTES / 1e9:g} GB of sparse counts (a row pointer, column numbers, values), {ROUNDS} rounds, the median; the
client is on the same machine. MB/s are of the decoded bytes. Asked is half the speed of a copy
that is synced, or {ASKED:g} MB/s where that is less, with less than {MOST_RESIDENT:g} MB resident in the API. Before
the run the machine was busy with {{load}} other processes on average: with as many as it has processors, an upload,
which takes processor time of two processes, is slowed down more than a copy.
"""


def main() -> None:
    """Measure and write the page."""
    others = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, _door(Path(folder)) as door:
        sources = {encoding: _source(Path(folder), encoding) for encoding in _ENCODINGS}
        copies: list[float] = []
        speeds: dict[str, list[float]] = {encoding: [] for encoding in _ENCODINGS}
        resident: dict[str, float] = dict.fromkeys(_ENCODINGS, 0.0)
        processor: dict[str, float] = {}
        for _ in range(ROUNDS):
            for encoding in _ENCODINGS:
                copies.append(_speed(lambda: _copy(sources["identity"], Path(folder) / "copy")))
                (Path(folder) / "copy").unlink()
                spent = -_processor_seconds(door.pid)
                with _watched(door.pid) as seen:
                    speeds[encoding].append(_speed(lambda: _upload(door, sources[encoding], encoding)))  # noqa: B023
                resident[encoding] = max(resident[encoding], *seen)
                processor[encoding] = spent + _processor_seconds(door.pid)
                _forget(door)
    text = _page(copies, speeds, resident, processor)
    report.keep("uploads", "Uploads", f"{_HOW.format(load=f'{others:.1f}')}\n{text}")


@contextmanager
def _door(folder: Path) -> Iterator[Door]:
    settings = Settings(data_dir=folder, broker_url=f"redis+socket://{folder}/none")
    upgrade(settings.database)
    with open_door(settings) as door:
        door.http.get("/v1/methods").raise_for_status()
        yield door


_OPENED: dict[str, Callable[[Path], Any]] = {
    "identity": lambda path: path.open("wb"),
    "gzip": lambda path: gzip.GzipFile(path, "wb", compresslevel=1),
    "zstd": lambda path: zstd.ZstdFile(path, "wb", level=1),
}


def _source(folder: Path, encoding: str) -> Path:
    """Write a gigabyte of a matrix's parts, encoded."""
    draw = np.random.default_rng(0)
    path = folder / f"source-{encoding}"
    with _OPENED[encoding](path) as stream:
        for _ in range(BYTES // 10**7):
            columns = np.sort(draw.integers(0, 2**31, 10**7 // 16))
            stream.write(columns.tobytes() + draw.integers(0, 100, columns.size).astype(np.float64).tobytes())
    return path


def _speed(act: Callable[[], None]) -> float:
    """Give MB/s of the decoded bytes."""
    began = time.perf_counter()
    act()
    return BYTES / 1e6 / (time.perf_counter() - began)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    handle = os.open(target, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _upload(door: Door, source: Path, encoding: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", door.http.base_url.port, blocksize=2**20)
    headers = {"Content-Type": NPZ, "Content-Encoding": encoding, "Content-Length": str(source.stat().st_size)}
    with closing(connection), source.open("rb") as body:
        connection.request("POST", "/v1/uploads", body, headers)
        assert connection.getresponse().status == 201  # noqa: S101 - a benchmark of refusals would be fast


def _forget(door: Door) -> None:
    """Let the next upload of the same bytes be a new one."""
    with door.system.database.transaction() as session:
        keys = list(session.scalars(delete(Upload).returning(Upload.storage_key)))
    for key in keys:
        door.system.store.delete(key)


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """Look at a process's memory again and again: MB."""
    seen, stop = [resident_bytes(pid) / 1e6], threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            seen.append(resident_bytes(pid) / 1e6)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _page(
    copies: list[float], speeds: dict[str, list[float]], resident: dict[str, float], processor: dict[str, float]
) -> str:
    copy = statistics.median(copies)
    asked = min(copy / 2, ASKED)
    lines = ["| | MB/s | of the copy | asked | most resident, MB | processor, s a GB | rounds, MB/s |"]
    lines += [
        "|---|---:|---:|---:|---:|---:|---|",
        f"| plain copy, synced | {copy:.0f} | 1 | | | | {_rounds(copies)} |",
    ]
    for name, seen in speeds.items():
        speed = statistics.median(seen)
        facts = f"{speed:.0f} | {speed / copy:.2f} | {asked:.0f} | {resident[name]:.0f} | {processor[name]:.1f}"
        lines.append(f"| {name} | {facts} | {_rounds(seen)} |")
    return "\n".join(lines) + "\n"


def _rounds(seen: list[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in seen)


if __name__ == "__main__":
    main()
