"""What a calibration minimises, prepared: the rows of the fit, scaled so that a squared loss is a sum of squares.

    sum_i omega_i loss(e_i) + lambda_l0 expected_l0 + lambda_l2 sum_j exp(2 log_weight_j)
                            + lambda_spread mean_j (w_j / d_j)^2

with e_i = (estimate_i - y_i) / scale_i and a loss of `losses`.
With a_ij = sqrt(omega_i) / scale_i M_ij and b_i = sqrt(omega_i) / scale_i y_i the first sum is ||A w - b||^2 where
the loss is the square.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.bounds import Bounds, bounds_of, candidates
from l0core.calibration.losses import SQUARED, CappedAbsolute, Loss
from l0core.calibration.options import DEFAULT_LAMBDA_SHARE, DEFAULT_LOSS_CAP, CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.errors import InvalidHyperparameter, InvalidInput


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The fit targets (rows) and the candidate units (columns).

    `rows` and `units` are their positions in the problem, which has `n_units`; `plain` is the problem's matrix there
    and `factor` what each row of it is multiplied with: A = diag(factor) plain. `prior` are the candidates' design
    weights, all positive; `omega` the weight of each fit target in the loss, `cost` the loss of an error before that
    weight; `to_relative` turns a row of A w - b into a relative error; `bounds` are the candidates' if they are kept,
    and `ridge` the price of each squared weight, which the gates do not change (None where it is 0).
    """

    rows: NDArray[np.int64]
    units: NDArray[np.int64]
    n_units: int
    plain: sp.csr_array
    factor: FloatArray
    goal: FloatArray
    prior: FloatArray
    omega: FloatArray
    to_relative: FloatArray
    bounds: Bounds
    cost: Loss = SQUARED
    ridge: FloatArray | None = None

    @property
    def n_candidates(self) -> int:
        """How many units may be kept."""
        return int(self.units.size)

    def columns(self, kept: NDArray[np.intp]) -> sp.csr_array:
        """Give these columns of A."""
        return sp.csr_array(sp.diags_array(self.factor) @ self.plain[:, kept])

    def errors(self, weights: FloatArray) -> FloatArray:
        """Give e of every fit target for weights of the candidates."""
        return np.asarray((self.factor * (self.plain @ weights) - self.goal) / np.sqrt(self.omega))

    def parts(self, weights: FloatArray) -> FloatArray:
        """Give what every fit target adds to the loss: omega_i loss(e_i)."""
        return self.omega * self.cost.value(self.errors(weights))

    def loss(self, weights: FloatArray) -> float:
        """Give the sum of the parts."""
        return float(self.parts(weights).sum())

    def minimised(self, weights: FloatArray) -> float:
        """Give the loss and, where there is one, the price of the squared weights: what a refit makes least."""
        ridge = 0.0 if self.ridge is None else float(self.ridge @ weights**2)
        return self.loss(weights) + ridge

    def dense(self, weights: FloatArray) -> FloatArray:
        """Spread weights of the candidates over all units of the problem; the others get 0."""
        spread = np.zeros(self.n_units)
        spread[self.units] = weights
        return spread


def prepare(problem: CalibrationProblem, options: CalibrationHyperparameters) -> Objective:
    """Give the objective of `problem` under `options`; raises where the two do not fit together."""
    rows = np.flatnonzero(~problem.holdout)
    prior = _prior(problem.design_weights, options.zero_prior)
    fitted = problem.matrix if rows.size == problem.n_targets else problem.matrix[rows]
    units = candidates(problem, prior, _used(fitted))
    if not units.size:
        raise InvalidInput("no unit with a positive weight contributes to any target of the fit", pointer="/matrix")
    omega = _omega(problem, options, rows)
    factor = np.sqrt(omega) / _scale(problem, options, rows)
    return Objective(
        rows=rows,
        units=units,
        n_units=problem.n_units,
        plain=fitted if units.size == problem.n_units else fitted[:, units],
        factor=factor,
        goal=factor * problem.targets[rows],
        prior=prior[units],
        omega=omega,
        to_relative=1 / (factor * problem.scale[rows]),
        bounds=bounds_of(problem, options, units, prior[units]),
        cost=_cost(options),
        ridge=_ridge(options, prior[units]),
    )


def _ridge(options: CalibrationHyperparameters, prior: FloatArray) -> FloatArray | None:
    """Give lambda_l2 + lambda_spread / (n d_j^2)."""
    if options.lambda_l2 == 0 and options.lambda_spread == 0:
        return None
    return np.asarray(options.lambda_l2 + options.lambda_spread / (prior.size * prior**2))


def _cost(options: CalibrationHyperparameters) -> Loss:
    if options.loss != "absolute_relative":
        return SQUARED
    return CappedAbsolute(cap=DEFAULT_LOSS_CAP if options.loss_cap is None else options.loss_cap)


def _used(matrix: sp.csr_array) -> NDArray[np.bool_]:
    """Say which columns have an entry."""
    used = np.zeros(matrix.shape[1], dtype=np.bool_)
    used[matrix.indices] = True
    return used


def price_of_a_unit(objective: Objective, options: CalibrationHyperparameters) -> float:
    """Give lambda_l0, from whichever of its two forms was given; with a record budget, where it starts."""
    if options.lambda_l0 is not None:
        return options.lambda_l0
    share = DEFAULT_LAMBDA_SHARE if options.lambda_share is None else options.lambda_share
    return share * float(objective.omega.sum()) / objective.n_candidates


def _prior(design_weights: FloatArray, zero_prior: str) -> FloatArray:
    if zero_prior == "drop":
        return design_weights
    return np.where(design_weights > 0, design_weights, design_weights[design_weights > 0].min())


def _scale(problem: CalibrationProblem, options: CalibrationHyperparameters, rows: NDArray[np.int64]) -> FloatArray:
    if options.loss == "squared":
        return np.ones(rows.size)
    return (problem.scale if problem.scales is None else problem.scales)[rows]


def _omega(problem: CalibrationProblem, options: CalibrationHyperparameters, rows: NDArray[np.int64]) -> FloatArray:
    weights = problem.target_weights[rows]
    if problem.groups is None:
        if options.group_multipliers:
            raise InvalidHyperparameter(
                "group_multipliers is given, and the problem has no target_groups",
                pointer="/hyperparameters/group_multipliers",
            )
        return weights
    return weights * group_factors(
        problem.groups[rows], normalize=options.normalize_groups, multipliers=options.group_multipliers
    )


def group_factors(
    groups: NDArray[np.int64], *, normalize: bool, multipliers: Mapping[str, float] | Mapping[int, float]
) -> FloatArray:
    """Give each target's factor in the loss: 1 over its group's size where `normalize`, times its group's multiplier.

    >>> group_factors(np.array([0, 0, 7]), normalize=True, multipliers={7: 3.0}).tolist()
    [0.5, 0.5, 3.0]
    """
    labels, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    factor = 1 / sizes if normalize else np.ones(labels.size)
    for label, multiplier in multipliers.items():
        factor[_group_position(label, labels)] *= multiplier
    return np.asarray(factor[member])


def _group_position(label: str | int, labels: NDArray[np.int64]) -> NDArray[np.intp]:
    found = np.flatnonzero(labels == int(label))
    if not found.size:
        raise InvalidHyperparameter(
            f"group_multipliers names group '{label}', and no target of the fit is in it",
            pointer=f"/hyperparameters/group_multipliers/{label}",
        )
    return found
