"""Fits the cases of tests/l0core/peer_cases.py with l0-python 0.6.2 and with l0core, ten seeds each, side by side.

    python benchmarks/agreement.py            # print the table, keep it in benchmarks/results/
    python benchmarks/agreement.py --record   # also write l0-python's answers where the tests read them

They agree where the means differ by no more than the spread (standard deviation) over the seeds.
"""

import json
import statistics
import sys
import warnings
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import report
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.l0core.peer_cases import CASES, Answer, answer  # noqa: E402  # the repository's own folder, put there above

RECORD = ROOT / "tests" / "l0core" / "golden" / "l0_python_0_6_2.json"


def main() -> None:
    """Fit, print, keep."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="l0")
    theirs = {name: answer(import_module("l0"), case) for name, case in CASES.items()}
    ours = {name: answer(import_module("l0core"), case) for name, case in CASES.items()}
    rows = [_row(f"{name}: {part}", theirs[name], ours[name], part) for name in CASES for part in ("loss", "active")]
    head = "| case | l0-python 0.6.2 | l0core | difference / spread |\n|---|---|---|---|"
    report.keep("agreement", "SparseCalibrationWeights beside l0-python 0.6.2", "\n".join([head, *rows, ""]))
    if "--record" in sys.argv:
        text = json.dumps({name: asdict(found) for name, found in theirs.items()}, indent=1)
        RECORD.write_text(f"{text}\n", encoding="utf-8")


def _row(name: str, theirs: Answer, ours: Answer, part: str) -> str:
    a, b = getattr(theirs, part), getattr(ours, part)
    spread = max(statistics.stdev(a), statistics.stdev(b))
    difference = abs(statistics.mean(a) - statistics.mean(b)) / spread
    return f"| {name} | {_told(a)} | {_told(b)} | {difference:.2f} |"


def _told(values: list[float]) -> str:
    return f"{statistics.mean(values):.4g} ± {statistics.stdev(values):.2g}"


if __name__ == "__main__":
    main()
