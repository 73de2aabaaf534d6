"""One epoch on the CPU with one read of the matrix: gradient, Adam's step, new gates and the next product, by chunks.

While a chunk of columns lies in the cache: pull_j = sum_i M_ij r_i; the step of log_weight_j and log_alpha_j; the new
gate; and M_ij w_j m_j added to the sums of the chunk's block. Blocks are summed in their order, so that the bits do not
depend on the number of threads. `descent` has the plain formulas; this restates them for speed and is tested against
them. Loops are short and name few arrays: the compiler vectorises what it can prove not to overlap.
"""

import numpy as np
from numba import prange

from l0core.calibration.kernels.compiling import compiled, compiled_fast, compiled_parallel
from l0core.calibration.kernels.lanes import LANES, SUMS_A_ROW, look_up_means, look_up_moments, pull_slice, push_slice
from l0core.calibration.kernels.maths import exp, logistic_noise, sigmoid

OPEN, DRAWN, EXPECTED = 0, 1, 2  # how the gates enter an epoch
_F = np.float32
CHUNK = 128  # slices worked on at once: their entries stay in the second-level cache
ROOM = CHUNK * LANES  # for one number of each of their lanes


@compiled_fast
def _touched(data, row, low, high):
    """Read the entries once in a row, at the memory's own pace, which scattered reads do not reach; give their sum."""
    total = _F(0)
    for k in range(low, high, 16):
        total += data[k]
    for k in range(low, high, 32):
        total += _F(row[k])
    return total


@compiled
def pulled(data, row, start, first, last, residual, pull):
    """Give sum_i M_ij r_i of every lane."""
    for s in range(first, last):
        pull_slice(data, row, start[s], start[s + 1], residual, pull, (s - first) * LANES)


@compiled
def pushed(data, row, start, first, last, weight, total):
    """Add M_ij w_j to `total`."""
    for s in range(first, last):
        push_slice(data, row, start[s], start[s + 1], weight, (s - first) * LANES, total)


@compiled
def _stretched(log_alpha, unit, low, high, inverse_beta, s):
    """Draw s = sigmoid((logit u + log_alpha) / beta)."""
    for j in range(s.size):
        s[j] = sigmoid((logistic_noise(unit[j], low, high) + log_alpha[j]) * inverse_beta)


@compiled
def clipped(s, gamma, width, value):
    """Give the drawn gate."""
    for j in range(s.size):
        value[j] = min(max(s[j] * width + gamma, _F(0)), _F(1))


@compiled
def _clipped_slope(s, gamma, width, inverse_beta, slope):
    """Give its slope by log_alpha."""
    for j in range(s.size):
        z = s[j] * width + gamma
        inside = (z > _F(0)) & (z < _F(1))
        slope[j] = s[j] * (_F(1) - s[j]) * width * inverse_beta if inside else _F(0)


@compiled
def placed(log_alpha, table_at, cells, cell, past):
    """Give the cell of a table that a location lies in, and how far past its beginning."""
    low, per_step, step = table_at
    for j in range(log_alpha.size):
        position = min(max((log_alpha[j] - low) * per_step, _F(0)), _F(cells - 0.001))
        cell[j] = np.int32(_F(0) if np.isnan(position) else position)  # NaN is no index; it goes on through `past`
        past[j] = (position - _F(cell[j])) * step


@compiled
def weights(log_weight, weight):
    """Give the weights; one below float32 is 0, so that what moves nothing has no gradient either."""
    for j in range(weight.size):
        w = exp(log_weight[j])
        weight[j] = _F(0) if log_weight[j] < _F(-87) else w


@compiled
def _weight_gradient(weight, value, pull, ridge, gradient):
    for j in range(gradient.size):
        gradient[j] = weight[j] * (_F(2) * value[j] * pull[j] + ridge * weight[j])


@compiled
def _gate_gradient(weight, slope, pull, gradient):
    for j in range(gradient.size):
        gradient[j] = _F(2) * weight[j] * slope[j] * pull[j]


@compiled
def _add_spread(weight, norm, variance, factor, gradient):
    """Add factor w^2 ||a||^2 v: the part of the gradient that comes from the gates' variance."""
    for j in range(gradient.size):
        gradient[j] += factor * weight[j] * weight[j] * norm[j] * variance[j]


@compiled
def _add_squares(weight, root, value, variance, factor, gradient):
    """Add 2 f (k w)^2 E z^2: by log_weight, what a gated weight's square costs."""
    for j in range(gradient.size):
        costly = root[j] * weight[j]
        gradient[j] += _F(2) * factor * costly * costly * (value[j] * value[j] + variance[j])


@compiled
def _add_squares_by_gate(weight, root, value, slope, variance_slope, factor, gradient):
    """Add f (k w)^2 dE z^2 / da."""
    for j in range(gradient.size):
        costly = root[j] * weight[j]
        gradient[j] += factor * costly * costly * (_F(2) * value[j] * slope[j] + variance_slope[j])


@compiled
def _add_price(log_alpha, threshold, price, gradient):
    for j in range(gradient.size):
        away = exp(-abs(log_alpha[j] - threshold))
        gradient[j] += price * away / ((_F(1) + away) * (_F(1) + away))


@compiled
def _adam(parameter, first, second, gradient, rate, correction, low, high):
    """Take Adam's step (`adam` has the formula), within [low, high]."""
    for j in range(gradient.size):
        m = _F(0.9) * first[j] + _F(0.1) * gradient[j]
        v = _F(0.999) * second[j] + _F(0.001) * gradient[j] * gradient[j]
        first[j], second[j] = m, v
        parameter[j] = min(max(parameter[j] - rate * m / (np.sqrt(v * correction) + _F(1e-15)), low), high)


@compiled
def gradients(
    mode, log_weight, log_alpha, drawn, norm, root, pull, shape, table, table_at, prices,
    by_weight, by_gate, weight, value, slope, variance, variance_slope, cell,
):  # fmt: skip
    """Give in `by_weight` and `by_gate` the gradients by log_weight and log_alpha of these lanes.

    `prices` are those of a gate, of a squared weight (twice) and the gradient's unit; `root` is empty where gated
    weights cost nothing.
    """
    weights(log_weight, weight)
    if mode == EXPECTED:
        placed(log_alpha, table_at, table.shape[0], cell, by_gate)
        look_up_moments(table, cell, by_gate, value, slope, variance, variance_slope)
    elif mode == DRAWN:
        clipped(drawn, shape[1], shape[2], value)
        _clipped_slope(drawn, shape[1], shape[2], shape[0], slope)
    else:
        value[:] = _F(1)
        slope[:] = _F(0)
    _weight_gradient(weight, value, pull, prices[1], by_weight)
    _gate_gradient(weight, slope, pull, by_gate)
    if mode == EXPECTED:
        _add_spread(weight, norm, variance, _F(2), by_weight)
        _add_spread(weight, norm, variance_slope, _F(1), by_gate)
    if root.size > 0:
        if mode != EXPECTED:
            variance[:] = _F(0)
            variance_slope[:] = _F(0)
        _add_squares(weight, root, value, variance, prices[2], by_weight)
        _add_squares_by_gate(weight, root, value, slope, variance_slope, prices[2], by_gate)
    _add_price(log_alpha, shape[3], prices[0], by_gate)


@compiled
def _gate_values(mode, log_alpha, unit, drawn, key, shape, table, table_at, value, past, cell):
    """Give the gates of an epoch: its draw, which is kept in `drawn`, their means, or ones."""
    if mode == EXPECTED:
        placed(log_alpha, table_at, table.shape[0], cell, past)
        look_up_means(table, cell, past, value)
    elif mode == DRAWN:
        _stretched(log_alpha, unit, key[0], key[1], shape[0], drawn)
        clipped(drawn, shape[1], shape[2], value)
    else:
        value[:] = _F(1)


@compiled
def weighted(log_weight, value, weight):
    """Give the gated weights; one that leaves float32 is infinite, so that a fit that diverges says so."""
    for j in range(weight.size):
        w = exp(log_weight[j])
        weight[j] = (_F(np.inf) if log_weight[j] > _F(88) else w) * value[j]


@compiled
def _push_chunk(
    data, row, start, s, last, unit, log_weight, log_alpha, drawn, total,
    mode, key, shape, table, table_at, value, scratch, cell,
):  # fmt: skip
    """Add the chunk's M w m to `total`, under the gates of `key`."""
    _gate_values(mode, log_alpha, unit, drawn, key, shape, table, table_at, value, scratch, cell)
    weighted(log_weight, value, scratch)
    pushed(data, row, start, s, last, scratch, total)


@compiled
def fold(sums, total):
    """Add up in float64 what neighbours in a slice added to a row's several sums."""
    for i in range(total.size):
        total[i] = 0.0
        for other in range(SUMS_A_ROW):
            total[i] += sums[i * SUMS_A_ROW + other]


@compiled_parallel
def begin(data, row, start, blocks, unit, theta, drawn, totals, mode, key, shape, table, table_at):  # fmt: skip
    """Give in `totals` each block's M w m before the first step, and in `drawn` what the gates of it are made of."""
    for b in prange(blocks.size - 1):
        sums = np.zeros(totals.shape[1] * SUMS_A_ROW, _F)
        value, scratch, cell = np.empty(ROOM, _F), np.empty(ROOM, _F), np.empty(ROOM, np.int32)
        for s in range(blocks[b], blocks[b + 1], CHUNK):
            last = min(s + CHUNK, blocks[b + 1])
            low, high = s * LANES, last * LANES
            n = high - low
            _push_chunk(
                data, row, start, s, last, unit[low:high], theta[0, low:high], theta[1, low:high], drawn[low:high],
                sums, mode, key, shape, table, table_at, value[:n], scratch[:n], cell[:n],
            )  # fmt: skip
        fold(sums, totals[b])


@compiled_parallel
def epoch(
    data, row, start, blocks, unit, numbers, drawn, norm, root, totals, mode, then, shape, table, table_at,
    residual, prices, rate, correction, reach, told,
):  # fmt: skip
    """Take one step of every unit, then as `begin` for the gates of the next epoch, whose key is `then`.

    The first axis of `numbers` (parameters, first and second moments), `drawn`, `norm`, `root`, `totals`,
    `residual` and `prices` counts the walks that go together: each chunk of the matrix is read once for all of them.
    `residual` is this epoch's, as `spread_down` gives it, and `drawn` what the last call left.
    """
    walks = numbers.shape[0]
    for b in prange(blocks.size - 1):
        sums = np.zeros((walks, totals.shape[2] * SUMS_A_ROW), _F)
        by_weight, by_gate, pull = np.empty(ROOM, _F), np.empty(ROOM, _F), np.empty(ROOM, _F)
        weight, value, slope = np.empty(ROOM, _F), np.empty(ROOM, _F), np.empty(ROOM, _F)
        variance, variance_slope = np.empty(ROOM, _F), np.empty(ROOM, _F)
        cell = np.empty(ROOM, np.int32)
        told[b, 0] = 0.0
        for s in range(blocks[b], blocks[b + 1], CHUNK):
            last = min(s + CHUNK, blocks[b + 1])
            low, high = s * LANES, last * LANES
            n = high - low
            told[b, 0] += _touched(data, row, start[s], start[last])
            for w in range(walks):
                lw, la, drawn_here = numbers[w, 0, 0, low:high], numbers[w, 0, 1, low:high], drawn[w, low:high]
                pulled(data, row, start, s, last, residual[w], pull)
                gradients(
                    mode, lw, la, drawn_here, norm[w, low:high], root[w, low:high], pull[:n], shape, table, table_at,
                    prices[w], by_weight[:n], by_gate[:n], weight[:n], value[:n], slope[:n], variance[:n],
                    variance_slope[:n], cell[:n],
                )  # fmt: skip
                first, second = numbers[w, 1, 0, low:high], numbers[w, 2, 0, low:high]
                _adam(lw, first, second, by_weight[:n], rate, correction, -_F(np.inf), _F(np.inf))
                first, second = numbers[w, 1, 1, low:high], numbers[w, 2, 1, low:high]
                _adam(la, first, second, by_gate[:n], rate, correction, reach[0], reach[1])
                _push_chunk(
                    data, row, start, s, last, unit[low:high], lw, la, drawn_here, sums[w],
                    mode, then, shape, table, table_at, value[:n], slope[:n], cell[:n],
                )  # fmt: skip
        for w in range(walks):
            fold(sums[w], totals[w, b])


@compiled_parallel
def push(data, row, start, blocks, weight, totals):
    """Give in `totals` each block's M w, for weights by lane."""
    for b in prange(blocks.size - 1):
        sums = np.zeros(totals.shape[1] * SUMS_A_ROW, _F)
        for s in range(blocks[b], blocks[b + 1], CHUNK):
            last = min(s + CHUNK, blocks[b + 1])
            pushed(data, row, start, s, last, weight[s * LANES : last * LANES], sums)
        fold(sums, totals[b])


@compiled_parallel
def pull(data, row, start, blocks, residual, by_lane):
    """Give sum_i M_ij r_i by lane."""
    for b in prange(blocks.size - 1):
        for s in range(blocks[b], blocks[b + 1], CHUNK):
            last = min(s + CHUNK, blocks[b + 1])
            pulled(data, row, start, s, last, residual, by_lane[s * LANES : last * LANES])


@compiled
def gather_up(totals, parent, child):
    """Sum the blocks in their order and complete the rows others are nested in, in float64."""
    rows = np.zeros(totals.shape[1], np.float64)
    for b in range(totals.shape[0]):
        for i in range(rows.size):
            rows[i] += totals[b, i]
    for k in range(parent.size):
        rows[parent[k]] += rows[child[k]]
    return rows


@compiled
def spread_down(by_row, parent, child):
    """Give each nested row what the rows it stands in would have passed on, in float32."""
    rows = by_row.copy()
    for k in range(parent.size - 1, -1, -1):
        rows[child[k]] += rows[parent[k]]
    return rows.astype(np.float32)
