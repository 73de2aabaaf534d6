"""Exchange of units that a refit leaves at their lower bound for units that the fit asks for.

At the optimum over the kept units a unit outside pulls with a_j'r, r the residual: were it let in, it would take on
weight in proportion to that. A kept unit at its lower bound, the least it may weigh, carries next to nothing. Letting
the strongest pulls in for these and fitting again shares the weights among more units: the loss is no worse, and the
effective sample size grows (us_states_2022 at 20,000 units: from 2,100 to 4,700, docs/refit.md). `swaps` has the
exchanges of single units, for budgets below the number of targets.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.bounds import able_to_meet_the_mass
from l0core.calibration.objective import Objective

Fit = Callable[[FloatArray], FloatArray]
_SHARE = 0.25  # of the kept units leave at once, at most: the pulls hold for small changes
_AT_THE_BOUND = 1 + 1e-4  # times the lower bound
_ROUNDS = 4
_MANY = 2_000  # kept units: above it a fit takes seconds, and the first exchange brings the most
_SAME = 1e-9  # of the loss: fits as good as that are told apart by their sum of squares


def exchanged(
    objective: Objective, weights: FloatArray, fit: Fit, *, stop: Callable[[], bool] = lambda: False
) -> FloatArray:
    """Give weights of as many units, never worse; `weights` (of the candidates) are fitted already, by `fit`.

    Cost: one fit and one product with the matrix for each round; four at most, one above 2,000 units.
    """
    rounds = _ROUNDS if np.count_nonzero(weights) <= _MANY else 1
    for _ in range(rounds):
        begun = _one_exchange(objective, weights)
        if begun is None or stop():
            return weights
        found = fit(begun)
        if not _is_better(objective, found, weights):
            return weights
        weights = found
    return weights


def _one_exchange(objective: Objective, weights: FloatArray) -> FloatArray | None:
    """Give where the next fit begins; None where no unit has cause to leave or to come."""
    leaving, incoming = _idle(objective, weights), _asked_for(objective, weights)
    n = min(leaving.size, incoming.size)
    if n == 0:
        return None
    begun = weights.copy()
    begun[leaving[:n]] = 0.0
    begun[incoming[:n]] = np.clip(
        weights[weights > 0].mean(), objective.bounds.lower[incoming[:n]], objective.bounds.upper[incoming[:n]]
    )
    kept = np.flatnonzero(begun > 0)
    able = able_to_meet_the_mass(kept, objective.bounds, weights, exact=True)
    return begun if np.array_equal(able, kept) else None


def _idle(objective: Objective, weights: FloatArray) -> NDArray[np.intp]:
    """Give kept units that weigh the least they may and may leave, those of the least weight first."""
    idle = (weights > 0) & (weights <= objective.bounds.lower * _AT_THE_BOUND)
    idle[objective.bounds.always] = False
    found = np.flatnonzero(idle)
    most = int(_SHARE * np.count_nonzero(weights))
    return found[np.argsort(weights[found], kind="stable")][:most]


def _asked_for(objective: Objective, weights: FloatArray) -> NDArray[np.intp]:
    """Give units outside that the residual pulls up, the strongest first."""
    residual = objective.goal - objective.factor * (objective.plain @ weights)
    pull = objective.plain.T @ (objective.factor * residual)
    if objective.ridge is not None:
        pull = pull / objective.ridge
    outside = np.flatnonzero((weights == 0) & (pull > 0))
    return outside[np.argsort(-pull[outside], kind="stable")]


def _is_better(objective: Objective, found: FloatArray, before: FloatArray) -> bool:
    """Say whether what is minimised fell, or stayed, and then the sum of squares."""
    now, then = objective.minimised(found), objective.minimised(before)
    nothing = (_SAME**2) * float(objective.goal @ objective.goal)
    if abs(now - then) <= _SAME * then or max(now, then) <= nothing:
        return float(found @ found) < float(before @ before)
    return now < then
