"""One epoch on the CPU with one read of the matrix: gradient, Adam's step, new gates and the next product, by chunks.

While a chunk of columns lies in the cache: pull_j = sum_i M_ij r_i; the step of log_weight_j and log_alpha_j; the new
gate; and M_ij w_j m_j added to the sums of the chunk's block. Blocks are summed in their order, so that the bits do not
depend on the number of threads. `descent` has the plain formulas; this restates them for speed and is tested against
them. Loops are short and name few arrays: the compiler vectorises what it can prove not to overlap.
"""

import numpy as np
from numba import prange

from l0core.calibration.kernels.compiling import compiled, compiled_fast, compiled_parallel
from l0core.calibration.kernels.lanes import LANES, SUMS_A_ROW, pull_slice, push_slice
from l0core.calibration.kernels.maths import exp, logistic_noise, sigmoid

OPEN, DRAWN, EXPECTED = 0, 1, 2  # how the gates enter an epoch
_F = np.float32
_CHUNK = 64  # slices worked on at once: their entries stay in the second-level cache


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
def _pulled(data, row, start, first, last, residual, pull):
    """Give sum_i M_ij r_i of every lane."""
    for s in range(first, last):
        pull_slice(data, row, start[s], start[s + 1], residual, pull, (s - first) * LANES)


@compiled
def _pushed(data, row, start, first, last, weight, total):
    """Add M_ij w_j to `total`."""
    for s in range(first, last):
        push_slice(data, row, start[s], start[s + 1], weight, (s - first) * LANES, total)


@compiled
def _stretched(log_alpha, unit, low, high, inverse_beta, s):
    """Draw s = sigmoid((logit u + log_alpha) / beta)."""
    for j in range(s.size):
        s[j] = sigmoid((logistic_noise(unit[j], low, high) + log_alpha[j]) * inverse_beta)


@compiled
def _clipped(s, gamma, width, inverse_beta, value, slope):
    """Give the drawn gate and its slope by log_alpha."""
    for j in range(s.size):
        z = s[j] * width + gamma
        inside = (z > _F(0)) & (z < _F(1))
        slope[j] = s[j] * (_F(1) - s[j]) * width * inverse_beta if inside else _F(0)
        value[j] = min(max(z, _F(0)), _F(1))


@compiled
def _tabulated(log_alpha, table, table_at, value, slope):
    """Give a moment of the gate and its slope, linear within the cells of its table (value and slope of each)."""
    low, per_step, step = table_at
    for j in range(log_alpha.size):
        position = min(max((log_alpha[j] - low) * per_step, _F(0)), _F(table.shape[0] - 0.001))
        cell = np.int32(_F(0) if np.isnan(position) else position)  # NaN is no index; it goes on through the sum
        slope[j] = table[cell, 1]
        value[j] = table[cell, 0] + slope[j] * ((position - _F(cell)) * step)


@compiled
def _weight_gradient(log_weight, value, pull, ridge, gradient):
    for j in range(gradient.size):
        w = exp(log_weight[j])
        gradient[j] = w * (_F(2) * value[j] * pull[j] + ridge * w)


@compiled
def _gate_gradient(log_weight, slope, pull, gradient):
    for j in range(gradient.size):
        gradient[j] = _F(2) * exp(log_weight[j]) * slope[j] * pull[j]


@compiled
def _add_spread(log_weight, norm, variance, factor, gradient):
    """Add factor w^2 ||a||^2 v: the part of the gradient that comes from the gates' variance."""
    for j in range(gradient.size):
        w = exp(log_weight[j])
        gradient[j] += factor * w * w * norm[j] * variance[j]


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
def _gradients(
    mode,
    log_weight,
    log_alpha,
    unit,
    norm,
    pull,
    key,
    shape,
    tables,
    table_at,
    prices,
    by_weight,
    by_gate,
    value,
    slope,
):
    """Give in `by_weight` and `by_gate` the gradients by log_weight and log_alpha of these lanes."""
    if mode == EXPECTED:
        _tabulated(log_alpha, tables[0], table_at, value, slope)
    elif mode == DRAWN:
        _stretched(log_alpha, unit, key[0], key[1], shape[0], by_gate)
        _clipped(by_gate, shape[1], shape[2], shape[0], value, slope)
    else:
        value[:] = _F(1)
        slope[:] = _F(0)
    _weight_gradient(log_weight, value, pull, prices[1], by_weight)
    _gate_gradient(log_weight, slope, pull, by_gate)
    if mode == EXPECTED:
        _tabulated(log_alpha, tables[1], table_at, value, slope)
        _add_spread(log_weight, norm, value, _F(2), by_weight)
        _add_spread(log_weight, norm, slope, _F(1), by_gate)
    _add_price(log_alpha, shape[3], prices[0], by_gate)


@compiled
def _gate_values(mode, log_alpha, unit, key, shape, tables, table_at, value, scratch):
    """Give the gates of an epoch: its draw, their means, or ones."""
    if mode == EXPECTED:
        _tabulated(log_alpha, tables[0], table_at, value, scratch)
    elif mode == DRAWN:
        _stretched(log_alpha, unit, key[0], key[1], shape[0], scratch)
        _clip(scratch, shape[1], shape[2], value)
    else:
        value[:] = _F(1)


@compiled
def _clip(s, gamma, width, value):
    for j in range(value.size):
        value[j] = min(max(s[j] * width + gamma, _F(0)), _F(1))


@compiled
def _weighted(log_weight, value, weight):
    """Give the gated weights; one that leaves float32 is infinite, so that a fit that diverges says so."""
    for j in range(weight.size):
        w = exp(log_weight[j])
        weight[j] = (_F(np.inf) if log_weight[j] > _F(88) else w) * value[j]


@compiled_fast
def _open(log_alpha, unit, threshold):
    """Give the expected number of open gates; a lane without a unit has none."""
    total = _F(0)
    for j in range(log_alpha.size):
        total += sigmoid(log_alpha[j] - threshold) if unit[j] >= 0 else _F(0)
    return total


@compiled
def _push_chunk(
    data, row, start, s, last, unit, log_weight, log_alpha, total,
    mode, key, shape, tables, table_at, value, scratch,
):  # fmt: skip
    """Add the chunk's M w m to `total`, under the gates of `key`; give the expected number of open gates."""
    _gate_values(mode, log_alpha, unit, key, shape, tables, table_at, value, scratch)
    _weighted(log_weight, value, scratch)
    _pushed(data, row, start, s, last, scratch, total)
    return _open(log_alpha, unit, shape[3])


@compiled_parallel
def begin(data, row, start, blocks, unit, theta, totals, told, mode, key, shape, tables, table_at):  # fmt: skip
    """Give in `totals` each block's M w m, and in `told` its expected number of open gates, before the first step."""
    for b in prange(blocks.size - 1):
        totals[b, :] = _F(0)
        value, scratch = np.empty(_CHUNK * LANES, _F), np.empty(_CHUNK * LANES, _F)
        told[b, 0] = 0.0
        for s in range(blocks[b], blocks[b + 1], _CHUNK):
            last = min(s + _CHUNK, blocks[b + 1])
            low, high = s * LANES, last * LANES
            n = high - low
            told[b, 0] += _push_chunk(
                data, row, start, s, last, unit[low:high], theta[0, low:high], theta[1, low:high], totals[b],
                mode, key, shape, tables, table_at, value[:n], scratch[:n],
            )  # fmt: skip


@compiled_parallel
def epoch(
    data, row, start, blocks, unit, theta, totals, told, mode, then, shape, tables, table_at,
    norm, first, second, residual, now, prices, rate, correction, reach,
):  # fmt: skip
    """Take one step of every unit, then as `begin` for the gates of the next epoch.

    `now` and `then` are this and the next epoch's keys; `residual` is this epoch's, as `spread_down` gives it.
    """
    for b in prange(blocks.size - 1):
        totals[b, :] = _F(0)
        most = _CHUNK * LANES
        by_weight, by_gate, pull = np.empty(most, _F), np.empty(most, _F), np.empty(most, _F)
        value, slope = np.empty(most, _F), np.empty(most, _F)
        told[b, 0] = 0.0
        told[b, 1] = 0.0
        for s in range(blocks[b], blocks[b + 1], _CHUNK):
            last = min(s + _CHUNK, blocks[b + 1])
            low, high = s * LANES, last * LANES
            n = high - low
            units, lw, la = unit[low:high], theta[0, low:high], theta[1, low:high]
            told[b, 1] += _touched(data, row, start[s], start[last])
            _pulled(data, row, start, s, last, residual, pull)
            _gradients(
                mode, lw, la, units, norm[low:high], pull[:n], now, shape, tables, table_at, prices,
                by_weight[:n], by_gate[:n], value[:n], slope[:n],
            )  # fmt: skip
            _adam(lw, first[0, low:high], second[0, low:high], by_weight[:n], rate, correction, -_F(np.inf), _F(np.inf))
            _adam(la, first[1, low:high], second[1, low:high], by_gate[:n], rate, correction, reach[0], reach[1])
            told[b, 0] += _push_chunk(
                data, row, start, s, last, units, lw, la, totals[b], mode, then, shape, tables, table_at,
                value[:n], slope[:n],
            )  # fmt: skip


@compiled_parallel
def push(data, row, start, blocks, weight, totals):
    """Give in `totals` each block's M w, for weights by lane."""
    for b in prange(blocks.size - 1):
        totals[b, :] = _F(0)
        for s in range(blocks[b], blocks[b + 1], _CHUNK):
            last = min(s + _CHUNK, blocks[b + 1])
            _pushed(data, row, start, s, last, weight[s * LANES : last * LANES], totals[b])


@compiled_parallel
def pull(data, row, start, blocks, residual, pulled):
    """Give sum_i M_ij r_i by lane."""
    for b in prange(blocks.size - 1):
        for s in range(blocks[b], blocks[b + 1], _CHUNK):
            last = min(s + _CHUNK, blocks[b + 1])
            _pulled(data, row, start, s, last, residual, pulled[s * LANES : last * LANES])


@compiled
def gather_up(totals, parent, child):
    """Sum the blocks in their order and complete the rows others are nested in, in float64."""
    rows = np.zeros(totals.shape[1] // SUMS_A_ROW, np.float64)
    for b in range(totals.shape[0]):
        for i in range(rows.size):
            for other in range(SUMS_A_ROW):
                rows[i] += totals[b, i * SUMS_A_ROW + other]
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
