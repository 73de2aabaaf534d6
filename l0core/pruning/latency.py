"""How long networks take to answer: the dense and the compact one in turn, on one thread, median of many calls."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 256
_CALLS, _WARM, _SECONDS = 200, 5, 2.0
Answering = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Microseconds of a call with one row and with `rows` rows."""

    rows: int
    one_row: float
    all_rows: float


def latencies(
    networks: dict[str, Answering], rows: NDArray[np.float32], *, clock: Callable[[], float]
) -> dict[str, Latency]:
    """Give the latency of each network; they take turns, so that a busy machine is busy for all."""
    many = rows[:MOST_ROWS]
    one, all_ = _medians(networks, many[:1], clock), _medians(networks, many, clock)
    return {name: Latency(rows=len(many), one_row=one[name], all_rows=all_[name]) for name in networks}


def _medians(networks: dict[str, Answering], rows: NDArray[np.float32], clock: Callable[[], float]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in networks}
    begun = clock()
    for call in range(_CALLS):
        for name, network in networks.items():
            times[name].append(_timed(network, rows, clock))
        if call >= _WARM and clock() - begun > _SECONDS:
            break
    return {name: 1e6 * median(taken[_WARM:]) for name, taken in times.items()}


def _timed(network: Answering, rows: NDArray[np.float32], clock: Callable[[], float]) -> float:
    start = clock()
    network(rows)
    return clock() - start
