"""Measures the running service: pick-up of a job, memory of its processes, the demo from start to end.

    python benchmarks/one_machine.py

Prints one table; figures that are kept go to benchmarks/results/ with the machine described.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil

from service.client import Client, Job
from service.local import local_service

JOBS = 20


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, local_service(Path(folder)) as url, Client(url) as client:
        problem = client.problem(np.eye(3), np.ones(3))
        jobs = [client.submit(problem["id"], epochs=1).wait() for _ in range(JOBS)]
        delays = sorted(_pick_up_milliseconds(job) for job in jobs)
        rows = [("job picked up after, ms (median, worst of 20)", f"{statistics.median(delays):.0f}, {delays[-1]:.0f}")]
        rows += [(f"resident, MB: {name}", f"{size:.0f}") for name, size in _resident().items()]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "service.cli", "demo", "--output", folder], check=True, capture_output=True)
    rows.append(("demo, s", f"{time.perf_counter() - started:.1f}"))
    sys.stdout.writelines(f"{name:50} {value}\n" for name, value in rows)


def _pick_up_milliseconds(job: Job) -> float:
    state = job.state()
    created, started = (datetime.fromisoformat(state[name]) for name in ("created_at", "started_at"))
    return (started - created).total_seconds() * 1000


def _resident() -> dict[str, float]:
    family = psutil.Process().children(recursive=True)
    names = {"service.api.serve": "API", "worker": "worker"}
    found = {names[part]: process for process in family for part in process.cmdline() if part in names}
    return {name: process.memory_info().rss / 2**20 for name, process in sorted(found.items())}


if __name__ == "__main__":
    main()
