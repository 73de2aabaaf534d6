"""Seconds an epoch of `SparseCalibrationWeights.fit`, l0-python 0.6.2 and l0core in turn, one process each.

    python benchmarks/speed.py           # the small matrix and the states
    python benchmarks/speed.py --full    # and a geographic stack of 50 million nonzeros

Drawn gates, relative loss, lambda 1e-4. An epoch is the difference of a long and a short fit over the difference of
their epochs; medians of three. The plain read is a sum over the bytes of the matrix in compact form (4 a value, 2 a row
number) with the same threads in the same process: what an epoch that reads all of it once cannot go below. Where rows
repeat others, l0core stores and reads less. The expected gradient is a job's (`run`), 100 epochs between two reports.
Peak memory is that of a fit in a process that has fitted before, over the input; asked are 1.2 x 6 bytes a nonzero and
64 a unit.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

EPOCHS = {"l0": (2, 6), "l0core": (20, 120)}
REPEATS = 3


def main() -> None:
    """Measure every size with one and two threads, print and keep."""
    import report  # noqa: PLC0415  # the measured processes import nothing that is not theirs
    from problems import SIZES, STATES  # noqa: PLC0415

    sizes = list(SIZES)[: None if "--full" in sys.argv else 2]
    if not STATES.exists():
        sizes.remove("us_states_2022")
    rows = [_row(size, threads) for size in sizes for threads in (1, 2)]
    head = (
        "| problem | threads | l0-python, ms an epoch | l0core, ms | times faster | plain read, ms (GB/s) "
        "| epoch / plain read | expected gradient, ms | / plain read | stored / nonzeros | peak memory | asked |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    report.keep("speed", "Time of an epoch", "\n".join([__doc__.split("\n\n", 2)[2], head, *rows, ""]))


def _row(size: str, threads: int) -> str:
    theirs, ours = (_measured(library, size, threads) for library in ("l0", "l0core"))
    read = ours["read_seconds"]
    return (
        f"| {size} | {threads} | {1e3 * theirs['seconds']:.1f} | {1e3 * ours['seconds']:.3f} "
        f"| {theirs['seconds'] / ours['seconds']:.0f}x | {1e3 * read:.2f} ({ours['bytes'] / read / 1e9:.1f}) "
        f"| {ours['seconds'] / read:.1f}x | {1e3 * ours['expected']:.3f} | {ours['expected'] / read:.1f}x "
        f"| {ours['stored']:.2f} | {ours['peak_bytes'] / 1e6:.1f} MB | {ours['asked_bytes'] / 1e6:.1f} MB |"
    )


def _measured(library: str, size: str, threads: int) -> dict[str, Any]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    command = [sys.executable, __file__, "--one", library, size]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(library_name: str, size: str) -> dict[str, Any]:
    """Measure one library in this process."""
    from importlib import import_module  # noqa: PLC0415

    from problems import SIZES  # noqa: PLC0415

    library = import_module(library_name)
    matrix, targets = SIZES[size]()
    _fit(library, matrix[:, :2000], targets, 2)  # compiled for numbers of this type, loaded
    short, long = EPOCHS[library_name]
    before = reset_peak()
    _fit(library, matrix, targets, short)
    added = peak() - before
    seconds = [
        (_fit(library, matrix, targets, long) - _fit(library, matrix, targets, short)) / (long - short)
        for _ in range(REPEATS)
    ]
    compact, per_unit = 6 * matrix.nnz, 64 * matrix.shape[1]
    found = {"seconds": statistics.median(seconds), "peak_bytes": added, "bytes": compact}
    found["asked_bytes"] = 1.2 * compact + per_unit
    return found | (_expected(matrix, targets) | _limits(matrix) if library_name == "l0core" else {})


def _fit(library: Any, matrix: Any, targets: Any, epochs: int) -> float:
    model = library.SparseCalibrationWeights(matrix.shape[1], beta=0.35, init_weights=1.0, seed=1)
    start = time.perf_counter()
    model.fit(matrix, targets, lambda_l0=1e-4, lr=0.01, epochs=epochs, loss_type="relative", verbose_freq=10**6)
    return time.perf_counter() - start


def _expected(matrix: Any, targets: Any) -> dict[str, float]:
    """Measure the same with the expected gradient, which only a job has."""
    from jobs import seconds_an_epoch  # noqa: PLC0415

    from l0core.calibration.problem import CalibrationProblem  # noqa: PLC0415

    problem = CalibrationProblem.build(matrix, targets)
    seconds = [seconds_an_epoch(problem, 100, lambda_l0=1e-4, beta=0.35)[0] for _ in range(REPEATS)]
    return {"expected": statistics.median(seconds)}


def _limits(matrix: Any) -> dict[str, float]:
    """Measure a plain read of the matrix in compact form, and say how much of it is stored."""
    import numba  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    from l0core.calibration.kernels.slices import slices_of  # noqa: PLC0415

    @numba.njit(parallel=True, fastmath=True)
    def read(words: Any) -> Any:
        total = 0
        for i in numba.prange(words.size):
            total += words[i]
        return total

    words = np.ones(6 * matrix.nnz // 8, dtype=np.int64)
    read(words)
    times = []
    for _ in range(21):
        start = time.perf_counter()
        read(words)
        times.append(time.perf_counter() - start)
    return {"read_seconds": statistics.median(times), "stored": slices_of(matrix).data.size / matrix.nnz}


def reset_peak() -> int:
    """Forget the highest memory so far, and give the memory in use."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:  # noqa: PTH123  # no file, a switch
        file.write("5")
    return _status("VmRSS")


def peak() -> int:
    """Give the highest memory since `reset_peak`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


if __name__ == "__main__":
    if "--one" in sys.argv:
        sys.stdout.write(json.dumps(one(*sys.argv[2:4])) + "\n")
    else:
        main()
