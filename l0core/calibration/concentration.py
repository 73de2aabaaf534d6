"""How evenly a set of weights is spread over its units: Kish's numbers, the heaviest units, quantiles of g-weights."""

from typing import Any

import numpy as np

from l0core.arrays import FloatArray

_PERCENT = (1, 5, 25, 50, 75, 95, 99)
_QUANTILES = {"min": 0.0, **{f"p{percent}": percent / 100 for percent in _PERCENT}, "max": 1.0}


def effective_sample_size(weights: FloatArray) -> float:
    """Give Kish's (sum w)^2 / sum w^2 (1965, section 11.7): how many equally weighted units are worth the same.

    >>> effective_sample_size(np.array([2.0, 2.0, 0.0]))
    2.0
    """
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def design_effect(weights: FloatArray) -> float | None:
    """Give Kish's n sum w^2 / (sum w)^2 = 1 + CV^2 over the units above 0 (1992); None where there is none.

    It is the variance of a weighted mean over that of the same number of equal weights, for an outcome that has
    nothing to do with the weights.

    >>> design_effect(np.array([3.0, 1.0, 0.0]))
    1.25
    """
    effective = effective_sample_size(weights)
    return float(np.count_nonzero(weights > 0)) / effective if effective else None


def top_share(weights: FloatArray) -> float | None:
    """Give the share of all weight that the heaviest 1 % of the units above 0 carry, one unit at least.

    >>> top_share(np.array([6.0, 1.0, 1.0]))
    0.75
    """
    active = weights[weights > 0]
    if not active.size:
        return None
    top = np.sort(active)[-max(1, active.size // 100) :]
    return float(top.sum() / active.sum())


def g_weights(design_weights: FloatArray, weights: FloatArray) -> FloatArray:
    """Give w / d of the units that have both.

    >>> g_weights(np.array([2.0, 0.0, 4.0]), np.array([5.0, 1.0, 0.0])).tolist()
    [2.5]
    """
    compared = (weights > 0) & (design_weights > 0)
    return np.asarray(weights[compared] / design_weights[compared])


def quantiles(values: FloatArray) -> dict[str, float] | None:
    """Give smallest, largest and seven quantiles between, each value counting once, linear between two of them.

    >>> quantiles(np.arange(101.0))
    {'min': 0.0, 'p1': 1.0, 'p5': 5.0, 'p25': 25.0, 'p50': 50.0, 'p75': 75.0, 'p95': 95.0, 'p99': 99.0, 'max': 100.0}
    """
    if not values.size:
        return None
    found = np.quantile(values, list(_QUANTILES.values()))
    return dict(zip(_QUANTILES, found.tolist(), strict=True))


def spread(design_weights: FloatArray, weights: FloatArray) -> dict[str, Any]:
    """Give the numbers of the summary about the weights."""
    active, ratios = weights[weights > 0], g_weights(design_weights, weights)
    return {
        "n_units": int(weights.size),
        "n_active": int(active.size),
        "effective_sample_size": effective_sample_size(active),
        "design_effect": design_effect(active),
        "top_1_percent_share": top_share(active),
        "max_weight": float(active.max(initial=0.0)),
        "max_g_weight": float(ratios.max(initial=0.0)),
        "g_weight_quantiles": quantiles(ratios),
        "weights_total": float(active.sum()),
        "initial_weights_total": float(design_weights.sum()),
    }
