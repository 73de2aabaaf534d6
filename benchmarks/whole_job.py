"""`us_states_2022` from the file to weights: time to 3 %, what closing gates save, what logs cost, several prices.

    python benchmarks/whole_job.py             # l0core
    python benchmarks/whole_job.py --full      # and l0-python to 3 %, two minutes

Two threads. To 3 %: the clock runs from reading the file to the weights, imports and compilation excluded, and the
error is the mean of |estimate - target| / target under the test-time gates with at most 135,392 units (what l0-python
keeps). l0core takes 100 epochs of the expected gradient, l0-python 268 of drawn gates at lambda 1e-4. Closing gates:
epochs of one fit, by the time between its reports. Logs: the same fit with its 26 reports and with 2. Prices: five
lambdas by `path`, and by five runs without a refit.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import report
from problems import STATES, small, states

REPEATS = 3


def main() -> None:
    """Measure, print and keep."""
    if not STATES.exists():
        sys.stdout.write(f"{STATES} is not there: nothing to measure\n")
        return
    ours = _in_its_process("ours")
    theirs = _in_its_process("theirs") if "--full" in sys.argv else None
    ratio = f"{theirs['to_3_percent'] / ours['to_3_percent']:.0f}x less" if theirs else "see --full"
    lines = [
        "| what | l0core | against |",
        "|---|---|---|",
        f"| from the file to 3 %, s | {_reached(ours)} | {_reached(theirs) if theirs else ''} l0-python: {ratio} |",
        f"| an epoch with {ours['left']:.1%} of the units left, ms | {ours['last']:.2f} "
        f"| {ours['first']:.2f} the first: {ours['last'] / ours['first']:.2f} of it |",
        f"| 500 epochs with 26 reports, s | {ours['logged']:.3f} "
        f"| {ours['unlogged']:.3f} with 2: a report costs {ours['report']:.2%} of the fit |",
        f"| 100 epochs at five prices together, s | {ours['path']:.2f} | {ours['runs']:.2f} one after the other |",
        "",
    ]
    report.keep("whole_job", "A whole job", "\n".join([(__doc__ or "").split("\n\n", 2)[2], *lines]))


def _reached(found: dict[str, Any]) -> str:
    return f"{found['to_3_percent']:.2f} ({found['units']:,} units at {found['error']:.1%})"


def _in_its_process(side: str) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, __file__, "--one", side]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def theirs() -> dict[str, Any]:
    """Fit with l0-python."""
    import l0  # noqa: PLC0415  # in its own process

    warm, targets = small()
    l0.SparseCalibrationWeights(warm.shape[1]).fit(warm, targets, epochs=2, loss_type="relative")
    start = time.perf_counter()
    matrix, targets = states()
    weights = np.load(STATES / "init_weights.npy")
    model = l0.SparseCalibrationWeights(matrix.shape[1], beta=0.35, init_keep_prob=0.999, init_weights=weights)
    model.fit(matrix, targets, lambda_l0=1e-4, lr=0.1, epochs=268, loss_type="relative")
    found = model.get_weights(deterministic=True).detach().numpy()
    return {"to_3_percent": time.perf_counter() - start, **_error(matrix, targets, found)}


def ours() -> dict[str, Any]:
    """Fit with l0core, in all ways."""
    from jobs import timed  # noqa: PLC0415  # not in the other's process

    from l0core.calibration import path  # noqa: PLC0415
    from l0core.calibration.problem import CalibrationProblem  # noqa: PLC0415

    timed(CalibrationProblem.build(*small()), epochs=2)
    path(CalibrationProblem.build(*small()), [0.0, 1.0])
    times, found = [], {}
    for _ in range(REPEATS):
        start = time.perf_counter()
        matrix, targets = states()
        weights = np.load(STATES / "init_weights.npy")
        problem = CalibrationProblem.build(matrix, targets, initial_weights=weights)
        result, *_ = timed(problem, epochs=100, lambda_l0=3e-3, init_keep_prob=0.9, learning_rate=0.2)
        times.append(time.perf_counter() - start)
        found = _error(matrix, targets, result.weights)
    return {
        "to_3_percent": statistics.median(times),
        **found,
        **_closing(problem),
        **_logs(problem),
        **_prices(problem),
    }


def _error(matrix: Any, targets: Any, weights: Any) -> dict[str, Any]:
    error = np.abs(matrix @ weights - targets) / targets
    return {"error": float(error.mean()), "units": int((weights > 0).sum())}


def _closing(problem: Any) -> dict[str, float]:
    """Close 95 % and more in 1,000 epochs, and compare the first fifty with the last."""
    from jobs import timed  # noqa: PLC0415
    from safetensors.numpy import load_file  # noqa: PLC0415

    from l0core.calibration.closing import REMOVED  # noqa: PLC0415

    with TemporaryDirectory() as folder:
        result, *_ = timed(problem, log_every=50, folder=Path(folder), epochs=1000, lambda_l0=1e-2)
        closed = load_file(result.checkpoint or "")["closed"]
    seconds = result.history.metrics["epoch_seconds"]
    return {"first": 1e3 * seconds[1], "last": 1e3 * seconds[-2], "left": float((closed != REMOVED).mean())}


def _logs(problem: Any) -> dict[str, float]:
    from jobs import timed  # noqa: PLC0415

    logged, unlogged = (
        statistics.median(timed(problem, log_every=every, epochs=500, lambda_l0=1e-3)[1] for _ in range(REPEATS))
        for every in (None, 500)
    )
    return {"logged": logged, "unlogged": unlogged, "report": (logged - unlogged) / 24 / unlogged}


def _prices(problem: Any) -> dict[str, float]:
    from jobs import timed  # noqa: PLC0415

    from l0core.calibration import path  # noqa: PLC0415
    from l0core.calibration.options import CalibrationHyperparameters  # noqa: PLC0415

    prices = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
    start = time.perf_counter()
    path(problem, prices, CalibrationHyperparameters(epochs=100, refit=False))
    together = time.perf_counter() - start
    start = time.perf_counter()
    for price in prices:
        timed(problem, epochs=100, lambda_l0=price)
    return {"path": together, "runs": time.perf_counter() - start}


if __name__ == "__main__":
    if "--one" in sys.argv:
        sys.stdout.write(json.dumps({"ours": ours, "theirs": theirs}[sys.argv[2]]()) + "\n")
    else:
        main()
