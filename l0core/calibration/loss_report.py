"""The sections of the report about the loss: how far it is from its bound, what it is made of, what targets cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from l0core.calibration.attribution import largest, loss_shares
from l0core.markup import number, section, table, text
from l0core.plots import counted, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from l0core.calibration.result import CalibrationResult

_MOST = 10
_COLUMNS = ["Target", "Value", "Calibrated estimate", "Error"]


def loss_table(result: CalibrationResult) -> str:
    """Give the loss before and after the refit and, where it is known, the least that any weights have."""
    losses = [("Before the refit", result.selection_loss), ("Calibrated", result.loss)]
    if result.lower_bound is not None:
        losses += [("Lower bound", result.lower_bound), ("Gap to it", result.loss - result.lower_bound)]
    rows = [(name, number(loss), number(loss / result.omega_total)) for name, loss in losses]
    return table("Loss", ["Loss", "Sum", "Per target weight"], rows)


def composition(result: CalibrationResult) -> str:
    """Give the targets and groups that add most to the loss; nothing where there is none."""
    shown = largest(result.parts, _MOST).tolist()
    if not shown:
        return ""
    shares = loss_shares(result.parts)
    cells = [[percent(float(shares[i])), *_price(result, i)] for i in shown]
    columns = [*_COLUMNS, "Share of the loss", *([] if result.prices is None else ["Price"])]
    share = percent(float(shares[shown].sum()))
    fitted = int((~result.problem.holdout).sum())
    note = f"{counted(len(shown), 'target')} of {fitted:,} in the fit make up {share} of it. {_past_cap(result)}"
    content = f"<p>{text(note)}</p>{table('Largest share first', columns, _rows(result, shown, cells))}"
    return section("What the loss is made of", content + _groups(result))


def dearest(result: CalibrationResult) -> str:
    """Give the targets of the highest prices; nothing where there are none."""
    if result.prices is None:
        return ""
    shown = largest(np.nan_to_num(np.abs(result.prices)), _MOST).tolist()
    note = "A price is a target's dual value at the dense optimum: how fast the lower bound falls as it gives way."
    cells = [_price(result, i) for i in shown]
    listed = table("Dearest first", [*_COLUMNS, "Price"], _rows(result, shown, cells))
    return section("What targets cost", f"<p>{text(note)}</p>{listed}") if shown else ""


def _rows(result: CalibrationResult, shown: Sequence[int], more: Sequence[Sequence[str]]) -> list[list[str]]:
    fit, problem = result.fit, result.problem
    return [
        [
            problem.names[i],
            number(float(problem.targets[i])),
            number(float(fit.estimates[i])),
            percent(float(fit.relative_errors[i]), signed=True),
            *cells,
        ]
        for i, cells in zip(shown, more, strict=True)
    ]


def _price(result: CalibrationResult, i: int) -> list[str]:
    return [] if result.prices is None else [number(float(result.prices[i]))]


def _past_cap(result: CalibrationResult) -> str:
    if result.past_cap is None:
        return ""
    return f"{counted(int(result.past_cap.sum()), 'target')} past the cap: each adds as much as it ever can."


def _groups(result: CalibrationResult) -> str:
    found = result.by_group(_MOST)
    if found is None:
        return ""
    rows = [
        (
            str(row["group"]),
            number(row["n_targets"]),
            percent(row["initial_mean_abs_relative_error"]),
            percent(row["mean_abs_relative_error"]),
            percent(row["loss_share"]),
        )
        for row in found["groups"]
    ]
    left_out = found["other_groups"]["n_groups"]
    name = "Groups, largest share first" + (f"; {left_out:,} more are not shown" if left_out else "")
    columns = ["Group", "Targets", "Mean error before", "Mean error after", "Share of the loss"]
    return table(name, columns, rows)
