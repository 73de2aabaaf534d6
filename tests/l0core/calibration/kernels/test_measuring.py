"""What is counted over the lanes; `test_walk` has what is measured along a walk."""

import numpy as np
import pytest

from l0core.calibration.kernels import measuring


def test_a_lane_without_a_unit_is_not_counted_among_the_open_gates() -> None:
    log_alpha, unit = np.full(64, 2, dtype=np.float32), np.full(64, -1, dtype=np.int32)
    unit[[3, 40]] = [0, 1]
    found = measuring._open(log_alpha, unit, np.float32(0))
    assert float(found) == pytest.approx(2 / (1 + np.exp(-2)), rel=1e-6)
