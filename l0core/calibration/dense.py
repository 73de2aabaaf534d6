"""The dense optimum: the least loss that any weights within the bounds have, every candidate kept, and its prices.

It says how much the sparsity cost, which targets are dear, and whether all can be met at all. A target's price is how
fast the optimum falls as the target gives way: |d loss / d e_i|, the loss for each unit of e = (estimate - value) /
scale. By the envelope theorem that is 2 omega_i |e_i| for squares and, for absolute errors, omega_i times the row's
multiplier.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.losses import SQUARED
from l0core.calibration.objective import Objective
from l0core.calibration.refit import RefitProblem, refit, row_forces
from l0core.findings import Finding

_MOST_PAIRS = 50_000_000  # products of two entries of a column: half a minute in all


@dataclass(frozen=True, kw_only=True)
class DenseOptimum:
    """The least data loss, the weights that have it, and each fit target's error and price."""

    loss: float
    weights: FloatArray
    errors: FloatArray
    prices: FloatArray


def is_affordable(objective: Objective) -> Finding | None:
    """Give None where the dense optimum takes half a minute at most, else the finding that says it is left out."""
    entries = np.bincount(objective.plain.indices, minlength=objective.n_candidates).astype(np.float64)
    pairs = float(entries @ entries)
    if pairs <= _MOST_PAIRS:
        return None
    return Finding(
        code="lower_bound_skipped",
        severity="info",
        message=f"the dense optimum, a lower bound of the loss, is not looked for, nor prices or a conflicting set: "
        f"its systems add up {pairs:.2g} products each, and {_MOST_PAIRS:.2g} is the most",
        value=pairs,
    )


def dense_optimum(objective: Objective) -> DenseOptimum:
    """Give the optimum over all candidates, each free to weigh nothing. Cost: some forty systems (`systems`)."""
    everything: NDArray[np.intp] = np.arange(objective.n_candidates)
    bounds = objective.bounds.of(everything)
    problem = RefitProblem(
        matrix=objective.columns(everything),
        goal=objective.goal,
        bounds=bounds.down_to_zero(),
        omega=objective.omega,
        cost=objective.cost,
    )
    start = bounds.project(objective.prior)
    weights = refit(problem, start)
    errors = objective.errors(weights)
    if objective.cost == SQUARED:
        prices = 2 * objective.omega * np.abs(errors)
    else:
        prices = objective.omega * np.abs(row_forces(problem, weights))
    return DenseOptimum(loss=objective.loss(weights), weights=weights, errors=errors, prices=prices)
