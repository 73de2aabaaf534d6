"""Trains the networks of examples/digits.py over five seeds: parameters, accuracy, time a call, and equality in eval.

python benchmarks/digits.py
"""

import sys
from pathlib import Path
from statistics import median

import report
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from examples.digits import Digits, networks, parameters, seconds_per_call  # noqa: E402  # put on the path above

SEEDS = range(5)


def main() -> None:
    """Train, measure, keep."""
    torch.set_num_threads(1)
    digits = Digits.load()
    runs = [networks(digits, seed=seed) for seed in SEEDS]
    rows = [_row(seed, run, digits) for seed, run in zip(SEEDS, runs, strict=True)]
    head = (
        "450 test digits, one thread, median of 200 calls over all of them; the gated network in eval, the compact one "
        "made from it.\n\n"
        "| seed | parameters: dense, compact (fewer) | accuracy: dense, gated, compact | microseconds a call: dense, "
        "gated, compact (dense / compact) | largest difference of a score, gated and compact |\n|---|---|---|---|---|"
    )
    report.keep("digits", "A compacted network on scikit-learn's digits", "\n".join([head, *rows, ""]))


def _row(seed: int, run: dict[str, torch.nn.Module], digits: Digits) -> str:
    size = {name: parameters(net) for name, net in run.items()}
    accuracy = " %, ".join(f"{digits.accuracy(net):.1f}" for net in run.values())
    times = {
        name: median(1e6 * seconds_per_call(net, digits.test_images) for _ in range(3)) for name, net in run.items()
    }
    with torch.no_grad():
        difference = (run["gated"](digits.test_images) - run["compact"](digits.test_images)).abs().max().item()
    fewer = 1 - size["compact"] / size["dense"]
    shown = ", ".join(f"{t:.0f}" for t in times.values())
    return (
        f"| {seed} | {size['dense']:,}, {size['compact']:,} ({fewer:.1%}) | {accuracy} % | {shown} "
        f"({times['dense'] / times['compact']:.1f}x) | {difference:.1e} |"
    )


if __name__ == "__main__":
    main()
