"""What is asked of the walk's numbers without taking a step: sums and counts by block, in the order of the lanes."""

import numpy as np
from numba import prange

from l0core.calibration.kernels.compiling import compiled, compiled_fast, compiled_parallel
from l0core.calibration.kernels.fused import (
    CHUNK,
    DRAWN,
    EXPECTED,
    OPEN,
    ROOM,
    clipped,
    fold,
    gradients,
    placed,
    pulled,
    pushed,
    weighted,
    weights,
)
from l0core.calibration.kernels.lanes import LANES, SUMS_A_ROW, look_up_moments
from l0core.calibration.kernels.maths import sigmoid

_F = np.float32


@compiled_fast
def _open(log_alpha, unit, threshold):
    """Give the expected number of open gates; a lane without a unit has none."""
    total = _F(0)
    for j in range(log_alpha.size):
        total += sigmoid(log_alpha[j] - threshold) if unit[j] >= 0 else _F(0)
    return total


@compiled
def _largest(numbers):
    """Give the largest absolute value; NaN where one is."""
    largest = _F(0)
    for j in range(numbers.size):
        size = abs(numbers[j])
        largest = largest if size <= largest else size
    return largest


@compiled_parallel
def steepest(
    data, row, start, blocks, theta, drawn, mode, shape, table, table_at, norm, root, residual, prices, told,
):  # fmt: skip
    """Give in `told` the largest absolute number of each block's gradient."""
    for b in prange(blocks.size - 1):
        by_weight, by_gate, pull = np.empty(ROOM, _F), np.empty(ROOM, _F), np.empty(ROOM, _F)
        weight, value, slope = np.empty(ROOM, _F), np.empty(ROOM, _F), np.empty(ROOM, _F)
        variance, variance_slope = np.empty(ROOM, _F), np.empty(ROOM, _F)
        cell = np.empty(ROOM, np.int32)
        largest = _F(0)
        for s in range(blocks[b], blocks[b + 1], CHUNK):
            last = min(s + CHUNK, blocks[b + 1])
            low, high = s * LANES, last * LANES
            n = high - low
            pulled(data, row, start, s, last, residual, pull)
            gradients(
                mode, theta[0, low:high], theta[1, low:high], drawn[low:high], norm[low:high],
                root[low:high], pull[:n], shape, table, table_at, prices, by_weight[:n], by_gate[:n], weight[:n],
                value[:n], slope[:n], variance[:n], variance_slope[:n], cell[:n],
            )  # fmt: skip
            largest = max(largest, _largest(by_weight[:n]), _largest(by_gate[:n]))
        told[b, 0] = largest


@compiled_parallel
def expected_open(blocks, unit, log_alpha, threshold, told):
    """Give in `told` each block's expected number of open gates."""
    for b in prange(blocks.size - 1):
        told[b, 0] = 0.0
        for s in range(blocks[b], blocks[b + 1], CHUNK):
            low, high = s * LANES, min(s + CHUNK, blocks[b + 1]) * LANES
            told[b, 0] += _open(log_alpha[low:high], unit[low:high], threshold)


@compiled_fast
def _squares(weight, log_weight, unit):
    """Give sum w^2 in float64; a weight that leaves float32 is infinite."""
    total = 0.0
    for j in range(weight.size):
        w = np.float64(weight[j]) if log_weight[j] <= _F(88) else np.inf
        total += w * w if unit[j] >= 0 else 0.0
    return total


@compiled_fast
def _spread(weight, norm, variance):
    """Give sum w^2 ||a||^2 v."""
    total = 0.0
    for j in range(weight.size):
        total += np.float64(weight[j]) * weight[j] * norm[j] * variance[j]
    return total


@compiled_fast
def _cost(weight, root, value, variance):
    """Give sum (k w)^2 (z^2 + v)."""
    total = 0.0
    for j in range(weight.size):
        costly = np.float64(weight[j]) * root[j]
        total += costly * costly * (value[j] * value[j] + variance[j])
    return total


@compiled_fast
def _unsound(parameter, first, second):
    """Count what is no number any more; -inf is one, a log-weight's of 0."""
    found = 0
    for j in range(parameter.size):
        sound = (parameter[j] < _F(np.inf)) & (abs(first[j]) < _F(np.inf)) & (abs(second[j]) < _F(np.inf))
        found += 0 if sound else 1
    return found


@compiled
def _test_time(mode, log_alpha, unit, shape, value):
    """Give the deterministic gates, and how many are open."""
    n = 0
    for j in range(value.size):
        z = sigmoid(log_alpha[j] * shape[0]) * shape[2] + shape[1] if mode != OPEN else _F(1)
        value[j] = min(max(z, _F(0)), _F(1))
        n += 1 if (value[j] > _F(0)) & (unit[j] >= 0) else 0
    return n


@compiled_parallel
def measure(
    data, row, start, blocks, unit, theta, first, second, drawn, norm, root, totals, mode, shape, table, table_at, told,
):  # fmt: skip
    """Give in `totals` each block's M w g under the test-time gates.

    And in `told` its expected open gates, sum w^2, sum w^2 ||a||^2 v, open test-time gates, what is no number, and
    sum (k w)^2 E z^2, under the epoch's gates and under the test-time gates.
    """
    for b in prange(blocks.size - 1):
        sums = np.zeros(totals.shape[1] * SUMS_A_ROW, _F)
        value, weight, past = np.empty(ROOM, _F), np.empty(ROOM, _F), np.empty(ROOM, _F)
        slope, variance, variance_slope = (
            np.empty(ROOM, _F),
            np.empty(ROOM, _F),
            np.empty(ROOM, _F),
        )
        cell = np.empty(ROOM, np.int32)
        told[b, :] = 0.0
        for s in range(blocks[b], blocks[b + 1], CHUNK):
            last = min(s + CHUNK, blocks[b + 1])
            low, high = s * LANES, last * LANES
            n = high - low
            lw, la, units = theta[0, low:high], theta[1, low:high], unit[low:high]
            weights(lw, weight[:n])
            told[b, 0] += _open(la, units, shape[3])
            told[b, 1] += _squares(weight[:n], lw, units)
            if mode == EXPECTED:
                placed(la, table_at, table.shape[0], cell[:n], past[:n])
                look_up_moments(table, cell[:n], past[:n], value[:n], slope[:n], variance[:n], variance_slope[:n])
                told[b, 2] += _spread(weight[:n], norm[low:high], variance[:n])
            if root.size > 0:
                if mode == DRAWN:
                    clipped(drawn[low:high], shape[1], shape[2], value[:n])
                if mode == OPEN:
                    value[:n] = _F(1)
                if mode != EXPECTED:
                    variance[:n] = _F(0)
                told[b, 5] += _cost(weight[:n], root[low:high], value[:n], variance[:n])
            told[b, 3] += _test_time(mode, la, units, shape, value[:n])
            if root.size > 0:
                variance[:n] = _F(0)
                told[b, 6] += _cost(weight[:n], root[low:high], value[:n], variance[:n])
            for k in range(2):
                told[b, 4] += _unsound(theta[k, low:high], first[k, low:high], second[k, low:high])
            weighted(lw, value[:n], past[:n])
            pushed(data, row, start, s, last, past[:n], sums)
        fold(sums, totals[b])


@compiled
def count_closed(log_alpha, unit, limit, checks, closed):
    """Count on where a gate is below `limit`, begin anew where it is not; give how many reached `checks`."""
    ready = 0
    for j in range(closed.size):
        below = (log_alpha[j] < limit) & (unit[j] >= 0)
        closed[j] = min(closed[j] + 1, checks) if below else 0
        ready += closed[j] == checks
    return ready
