"""From 0.6 to 190 million nonzeros: time of an epoch, of everything around it, and memory, with two threads.

    python benchmarks/scaling.py               # up to 7 million
    python benchmarks/scaling.py --full        # and 50 and 190 million: PolicyEngine's local areas, 10 minutes

Each size in a process of its own, as a job does it: a problem is built from a matrix and its totals (checked, hashed),
and `run` is called without a refit, at its defaults otherwise, for 60 epochs. An epoch is the time between the reports
of the first and the last over their number; what is left of a run is its preparation (layout, scaling) and evaluation.
Peak memory is what `run` adds to the process that holds the problem, over the matrix in compact form (6 bytes a
nonzero).
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from speed import peak, reset_peak

EPOCHS = 60


def main() -> None:
    """Measure every size and both gradients, print and keep."""
    import report  # noqa: PLC0415
    from problems import SCALES  # noqa: PLC0415

    sizes = list(SCALES)[: None if "--full" in sys.argv else 2]
    head = (
        "| problem | targets x units | nonzeros, million | build, s | prepare and evaluate, s "
        "| expected, ms an epoch | drawn, ms an epoch | ns an epoch and nonzero | peak memory added "
        "| over compact | whole process |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|"
    )
    rows = [_row(size) for size in sizes]
    report.keep("scaling", "Scaling", "\n".join([(__doc__ or "").split("\n\n", 2)[2], head, *rows, ""]))


def _row(size: str) -> str:
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    command = [sys.executable, __file__, "--one", size]
    environment = {**os.environ, **dict.fromkeys(names, "2")}
    found = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    epoch = {kind: found[kind]["epoch"] for kind in ("expected", "sampled")}
    around = found["expected"]["around"]
    return (
        f"| {size} | {found['targets']:,} x {found['units']:,} | {found['nonzeros'] / 1e6:.1f} | {found['build']:.1f} "
        f"| {around:.1f} | {1e3 * epoch['expected']:.2f} | {1e3 * epoch['sampled']:.2f} "
        f"| {1e9 * epoch['expected'] / found['nonzeros']:.2f} | {found['added'] / 2**20:,.0f} MB "
        f"| {found['added'] / (6 * found['nonzeros']):.2f}x | {found['whole'] / 2**30:.1f} GB |"
    )


def one(size: str) -> dict[str, Any]:
    """Measure one size in this process."""
    from problems import SCALES, small  # noqa: PLC0415

    from l0core.calibration.problem import CalibrationProblem  # noqa: PLC0415

    for gradient in ("expected", "sampled"):
        _times(CalibrationProblem.build(*small()), gradient)  # compiled, loaded
    matrix, targets = SCALES[size]()
    start = time.perf_counter()
    problem = CalibrationProblem.build(matrix, targets)
    build = time.perf_counter() - start
    del matrix
    before = reset_peak()
    times = {gradient: _times(problem, gradient) for gradient in ("expected", "sampled")}
    return times | {
        "added": peak() - before,
        "whole": peak(),
        "build": build,
        "targets": problem.n_targets,
        "units": problem.n_units,
        "nonzeros": problem.matrix.nnz,
    }


def _times(problem: Any, gradient: str) -> dict[str, float]:
    from jobs import seconds_an_epoch  # noqa: PLC0415

    epoch, around = seconds_an_epoch(problem, EPOCHS, gradient=gradient)
    return {"epoch": epoch, "around": around}


if __name__ == "__main__":
    if "--one" in sys.argv:
        sys.stdout.write(json.dumps(one(sys.argv[2])))
    else:
        main()
