"""Calibrations that l0-python 0.6.2 and this engine must answer alike: same problems, same hyperparameters, ten seeds.

No empty columns, positive targets, lambda_l0 >= 1e-4: where the peer's known faults do not enter.
"""

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

SEEDS = range(10)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One problem and how it is fitted."""

    n_targets: int
    n_units: int
    density: float
    beta: float = 0.35
    fit: dict[str, Any] = field(default_factory=dict)

    def problem(self) -> tuple[sp.csr_matrix, NDArray[np.float64]]:
        """Give matrix and targets: the totals of log-normal weights, a unit in every column."""
        rng = np.random.default_rng(0)
        dense = sp.random_array((self.n_targets, self.n_units), density=self.density, rng=rng).toarray()
        dense[rng.integers(self.n_targets, size=self.n_units), np.arange(self.n_units)] = 1.0
        return sp.csr_matrix(dense), dense @ (100 * rng.lognormal(0, 1, self.n_units))


CASES = {
    "relative, lambda 1e-3": Case(
        n_targets=50,
        n_units=1000,
        density=0.2,
        fit={"lambda_l0": 1e-3, "lr": 0.1, "epochs": 800, "loss_type": "relative"},
    ),
    "relative, lambda 1e-4, l2": Case(
        n_targets=50,
        n_units=1000,
        density=0.2,
        beta=2 / 3,
        fit={"lambda_l0": 1e-4, "lambda_l2": 1e-8, "lr": 0.15, "epochs": 800, "loss_type": "relative"},
    ),
    "groups and multipliers": Case(
        n_targets=60,
        n_units=800,
        density=0.2,
        fit={
            "lambda_l0": 2e-4,
            "lr": 0.1,
            "epochs": 800,
            "loss_type": "relative",
            "target_groups": np.repeat([0, 1, 2], [30, 20, 10]),
            "group_multipliers": {1: 3.0},
        },
    ),
    "squared error": Case(
        n_targets=30, n_units=500, density=0.3, fit={"lambda_l0": 1e4, "lr": 0.1, "epochs": 800, "loss_type": "mse"}
    ),
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The final loss of the deterministic weights and how many are active, one number a seed."""

    loss: list[float]
    active: list[float]


def answer(library: ModuleType, case: Case) -> Answer:
    """Fit `case` with every seed. (The peer's `seed` leaves its gates to torch's global generator: seed that too.)"""
    found = []
    for seed in SEEDS:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            found.append(_fit(library, case, seed))
    return Answer(loss=[loss for loss, _ in found], active=[active for _, active in found])


def _fit(library: ModuleType, case: Case, seed: int) -> tuple[float, float]:
    matrix, targets = case.problem()
    model = library.SparseCalibrationWeights(
        case.n_units, beta=case.beta, init_weights=100.0, log_weight_jitter_sd=0.05, seed=seed
    )
    model.fit(matrix, targets, **case.fit)
    estimates = matrix @ model.get_weights(deterministic=True).detach().numpy().astype(np.float64)
    unit = targets + 1 if case.fit["loss_type"] == "relative" else 1.0
    errors = (targets - estimates) / unit
    penalty = case.fit["lambda_l0"] * float(model.get_l0_penalty().detach())
    loss = float((_importance(case) * errors**2).sum()) + penalty
    return loss, float(model.get_active_weights()["count"])


def _importance(case: Case) -> NDArray[np.float64]:
    groups = case.fit.get("target_groups")
    if groups is None:
        return np.ones(case.n_targets)
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    multipliers = np.array([case.fit["group_multipliers"].get(int(group), 1.0) for group in groups])
    return multipliers / sizes[member]
