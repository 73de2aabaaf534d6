"""The fit of targets by any labelling of them: group, family, level, geography."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.diagnostics import TargetFit
from l0core.errors import ShapeMismatch


def breakdown(fit: TargetFit, labels: Sequence[str | int], *, parts: FloatArray | None = None) -> list[dict[str, Any]]:
    """Give one row a label, in the order the labels first appear, and one more for its held-out targets.

    `labels` has one label a target. A row has `label`, `holdout`, `n_targets`, and mean, median and largest absolute
    relative error, `initial_` under the design weights. With `parts` (what each target adds to the loss, as
    `CalibrationResult.parts`) also `loss` and `loss_share`; both are None for held-out targets. Cost: one sort.

    >>> from l0core.calibration.diagnostics import target_fit
    >>> from l0core.calibration.problem import CalibrationProblem
    >>> problem = CalibrationProblem.build(np.eye(3), [10, 20, 40], holdout=[False, False, True])
    >>> rows = breakdown(target_fit(problem, np.array([9.0, 20.0, 60.0])), ["state", "state", "nation"])
    >>> [(row["label"], row["holdout"], row["n_targets"], row["mean_abs_relative_error"]) for row in rows]
    [('state', False, 2, 0.05), ('nation', True, 1, 0.5)]
    """
    if len(labels) != fit.problem.n_targets:
        raise ShapeMismatch(
            f"labels has {len(labels)} labels; the problem has {fit.problem.n_targets} targets: give one a target"
        )
    total = None if parts is None else math.fsum(parts)
    return [
        {"label": label, "holdout": held_out, **errors(fit, members), **_of_the_loss(parts, total, members, held_out)}
        for label, held_out, members in _cells(labels, fit.problem.holdout)
    ]


def errors(fit: TargetFit, members: NDArray[np.intp]) -> dict[str, Any]:
    """Give the errors of these targets, before and after."""
    after, before = np.abs(fit.relative_errors[members]), np.abs(fit.initial_relative_errors[members])
    return {"n_targets": int(members.size), **_three("", after), **_three("initial_", before)}


def _three(prefix: str, values: FloatArray) -> dict[str, float]:
    return {
        f"{prefix}mean_abs_relative_error": float(values.mean()),
        f"{prefix}median_abs_relative_error": float(np.median(values)),
        f"{prefix}max_abs_relative_error": float(values.max()),
    }


def _of_the_loss(
    parts: FloatArray | None, total: float | None, members: NDArray[np.intp], held_out: bool
) -> dict[str, float | None]:
    if parts is None or total is None:
        return {}
    if held_out:
        return {"loss": None, "loss_share": None}
    loss = math.fsum(parts[members])
    return {"loss": loss, "loss_share": loss / total if total > 0 else 0.0}


def _cells(
    labels: Sequence[str | int], holdout: NDArray[np.bool_]
) -> Iterator[tuple[str | int, bool, NDArray[np.intp]]]:
    """Yield each label with its targets in the fit, then with those held out; a cell without targets is left out."""
    first: dict[str | int, int] = {}
    code = np.array([2 * first.setdefault(label, len(first)) for label in labels]) + holdout
    order = np.argsort(code, kind="stable")
    present, starts = np.unique(code[order], return_index=True)
    names = list(first)
    for cell, members in zip(present.tolist(), np.split(order, starts[1:]), strict=True):
        yield names[cell // 2], bool(cell % 2), members
