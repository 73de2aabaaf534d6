"""`SparseCalibrationWeights` beside what l0-python 0.6.2 answered on the same problems and hyperparameters.

Its answers were recorded by `benchmarks/agreement.py --record` (package l0-python 0.6.2 from PyPI, torch 2.13.0, CPU).
"""

import json
import statistics
from pathlib import Path

import pytest

import l0core
from tests.l0core.peer_cases import CASES, answer

RECORD = Path(__file__).parents[1] / "golden" / "l0_python_0_6_2.json"


@pytest.mark.parametrize("name", CASES)
def test_final_loss_and_active_count_agree_with_the_peer_s_within_the_spread_of_the_seeds(name: str) -> None:
    theirs, ours = json.loads(RECORD.read_text(encoding="utf-8"))[name], answer(l0core, CASES[name])
    for part, found in (("loss", ours.loss), ("active", ours.active)):
        spread = max(statistics.stdev(theirs[part]), statistics.stdev(found))
        assert abs(statistics.mean(found) - statistics.mean(theirs[part])) <= spread, part
        assert statistics.stdev(found) <= 3 * statistics.stdev(theirs[part]), part  # no wilder than the peer
