"""What the loss is made of: each target's part of it, and which targets are given up past the cap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.losses import CappedAbsolute
from l0core.calibration.objective import Objective


@dataclass(frozen=True, kw_only=True)
class LossParts:
    """The loss by target. `parts` has Q numbers, 0 for held-out targets; their sum is the loss.

    `omega_total` is the sum of the targets' weights: the loss divided by it is the weighted mean loss of a target.
    `past_cap` says which targets' errors are above the cap, None under a loss without one.
    """

    parts: FloatArray
    omega_total: float
    past_cap: NDArray[np.bool_] | None


def loss_parts(objective: Objective, weights: FloatArray, n_targets: int) -> LossParts:
    """Give the parts of the loss of `weights` (one a candidate), for all `n_targets` of the problem.

    >>> from l0core.calibration.objective import prepare
    >>> from l0core.calibration.options import CalibrationHyperparameters
    >>> from l0core.calibration.problem import CalibrationProblem
    >>> problem = CalibrationProblem.build(np.eye(3), [10, 20, 40], holdout=[False, True, False])
    >>> options = CalibrationHyperparameters(loss="absolute_relative", loss_cap=0.4)
    >>> found = loss_parts(prepare(problem, options), np.array([9.0, 60.0]), 3)
    >>> found.parts.round(9).tolist(), found.omega_total, found.past_cap.tolist()
    ([0.1, 0.0, 0.4], 2.0, [False, False, True])
    """
    parts, past_cap = np.zeros(n_targets), None
    parts[objective.rows] = objective.parts(weights)
    if isinstance(objective.cost, CappedAbsolute):
        past_cap = np.zeros(n_targets, dtype=np.bool_)
        past_cap[objective.rows] = np.abs(objective.errors(weights)) > objective.cost.cap
    return LossParts(parts=parts, omega_total=float(objective.omega.sum()), past_cap=past_cap)


def loss_shares(parts: FloatArray) -> FloatArray:
    """Give each target's share of the loss; all 0 where there is no loss.

    >>> loss_shares(np.array([3.0, 0.0, 1.0])).tolist()
    [0.75, 0.0, 0.25]
    """
    total = math.fsum(parts)
    return np.asarray(parts / total) if total > 0 else np.zeros_like(parts)


def largest(values: FloatArray, most: int) -> NDArray[np.intp]:
    """Give the positions of the largest values above 0, largest first, `most` at most; the first of equals first.

    >>> largest(np.array([1.0, 5.0, 0.0, 5.0]), 3).tolist()
    [1, 3, 0]
    """
    order = np.argsort(-values, kind="stable")[:most]
    return order[values[order] > 0]


def attribution(parts: FloatArray, rows: Sequence[dict[str, Any]], *, most: int) -> dict[str, Any]:
    """Give the loss, the `most` targets that add most to it, and what the others add: together they sum to the loss.

    `rows` are the rows of all targets (`TargetFit.rows`); those listed gain `loss` and `loss_share`.
    """
    shown, shares = largest(parts, most), loss_shares(parts)
    others = np.setdiff1d(np.arange(parts.size), shown)
    return {
        "loss": math.fsum(parts),
        "targets": [{**rows[i], "loss": float(parts[i]), "loss_share": float(shares[i])} for i in shown],
        "other_targets": {
            "n_targets": int(others.size),
            "loss": math.fsum(parts[others]),
            "loss_share": math.fsum(shares[others]),
        },
    }


def largest_groups(rows: Sequence[dict[str, Any]], *, most: int) -> dict[str, Any]:
    """Give the groups that add most to the loss, largest first, and what those left out add.

    `rows` are those of `breakdown` with the parts of the loss. A group's held-out targets stand in its `holdout`; a
    group without a target in the fit is not listed.
    """
    held_out = {row["label"]: _without(row, *_KEYS, "loss", "loss_share") for row in rows if row["holdout"]}
    fitted = sorted((row for row in rows if not row["holdout"]), key=lambda row: -row["loss"])
    shown, others = fitted[:most], fitted[most:]
    return {
        "groups": [_group(row, held_out.get(row["label"])) for row in shown],
        "other_groups": {
            "n_groups": len(others),
            "n_targets": sum(row["n_targets"] for row in others),
            "loss": math.fsum(row["loss"] for row in others),
            "loss_share": math.fsum(row["loss_share"] for row in others),
        },
    }


def _group(row: dict[str, Any], held_out: dict[str, Any] | None) -> dict[str, Any]:
    numbers = {"group": row["label"], **_without(row, *_KEYS)}
    return numbers if held_out is None else numbers | {"holdout": held_out}


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


_KEYS = ("label", "holdout")
