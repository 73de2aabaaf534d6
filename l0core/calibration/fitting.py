"""The loop of `GatedVector`: so many of Adam's steps towards some totals, recorded and shown.

What is recorded are the deterministic gates and weights as they stand: it draws nothing, so that neither recording nor
showing changes a number.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.arrays import FloatArray
from l0core.calibration.descent import Descent, Gates, Landscape, Measured, OpenGates, WeightForm
from l0core.calibration.kernels import matrix_on
from l0core.calibration.kernels.norms import squared_norms
from l0core.calibration.kernels.torch_csr import threads_for
from l0core.calibration.walk import walk
from l0core.errors import Diverged
from l0core.history import History
from l0core.progress import bar_if
from l0core.scalars import NOT_NEGATIVE, POSITIVE, flag, number, whole


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How one fit goes: price of a gate, Adam's step, steps, and how often they are recorded and shown."""

    lambda_l0: float
    learning_rate: float
    epochs: int
    record_every: int
    verbose: bool

    @classmethod
    def checked(
        cls, *, price: tuple[str, float], lr: float, epochs: int, verbose: bool, verbose_freq: int
    ) -> "Schedule":
        """Give the schedule with every argument in its range; `price` is (its name at the interface, its value)."""
        name, lambda_l0 = price
        return cls(
            lambda_l0=number(lambda_l0, name=name, within=NOT_NEGATIVE),
            learning_rate=number(lr, name="lr", within=POSITIVE),
            epochs=whole(epochs, name="epochs"),
            record_every=whole(verbose_freq, name="verbose_freq"),
            verbose=flag(verbose, name="verbose"),
        )


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What is to be met: ||F (M w - y)||^2 with F = diag(`factor`), `factor` = sqrt(`importance`) / the error's unit.

    `centred`: up to a constant that is the same for every row.
    """

    matrix: sp.csr_array
    values: FloatArray
    unit: FloatArray
    importance: FloatArray
    centred: bool = False

    def landscape(self, shape: hc.GateShape, form: WeightForm, *, lambda_l2: float, device: torch.device) -> Landscape:
        """Give the loss to descend on, in float32 on `device`."""
        factor = np.sqrt(self.importance) / self.unit
        goal = factor * self.values

        def there(numbers: FloatArray) -> Tensor:
            return torch.as_tensor(numbers, dtype=torch.float32, device=device)

        return Landscape(
            matrix=matrix_on(device, self.matrix),
            factor=there(factor),
            goal=there(goal - goal.mean() if self.centred else goal),
            squared_norms=there(squared_norms(self.matrix, factor)),
            shape=shape,
            lambda_l2=lambda_l2,
            form=form,
            centred=self.centred,
        )

    def errors(self, residual: Tensor) -> FloatArray:
        """Give |M w - y| / unit of every row that counts, from its part of the loss."""
        counts = self.importance > 0
        return np.asarray(np.abs(residual.cpu().numpy()[counts]) / np.sqrt(self.importance[counts]))


def descend(
    state: Descent, gates: Gates, landscape: Landscape, schedule: Schedule, totals: Totals, history: History
) -> None:
    """Move `state` by the schedule's steps, in place, and add to `history` what is measured on the way.

    Raises Diverged where the loss stops being a number, or its gradient is too large for Adam's moments: these become
    infinite, and steps 0.
    """
    price = torch.tensor(
        0.0 if isinstance(gates, OpenGates) else schedule.lambda_l0, dtype=torch.float64, device=state.theta.device
    )
    with threads_for(totals.matrix), bar_if(schedule.verbose, "fitting", schedule.epochs) as advance, torch.no_grad():
        way = walk(state, gates, landscape)
        try:
            for done in range(1, schedule.epochs + 1):
                way.step(price, learning_rate=schedule.learning_rate)
                if done % schedule.record_every == 0 or done == schedule.epochs:
                    measured = way.measure()
                    metrics = _metrics(measured, landscape, totals, float(price))
                    if not (measured.sound and math.isfinite(metrics["loss"])):
                        raise _diverged(way.steps, schedule)
                    history.add(way.steps, metrics)
                    advance(done, _note(metrics, state.theta.shape[1]))
        finally:
            state.become(way.descent())


def _metrics(measured: Measured, landscape: Landscape, totals: Totals, price: float) -> dict[str, float]:
    """Give the numbers of the weights as they would be used now."""
    errors = totals.errors(landscape.residual_of(measured.rows))
    return measured.losses_at_test_time(landscape, price=price) | {
        "active": float(measured.active),
        "mean_abs_error": float(errors.mean()) if errors.size else 0.0,
        "max_abs_error": float(errors.max()) if errors.size else 0.0,
    }


def _diverged(steps: int, schedule: Schedule) -> Diverged:
    return Diverged(
        f"after {steps} epochs the loss is not a number or its gradient too large for float32: "
        f"lower lr (now {schedule.learning_rate:g}), or divide matrix and totals by a constant",
        epoch=steps,
    )


def _note(metrics: dict[str, float], n: int) -> str:
    return f"mean error {metrics['mean_abs_error']:.3g}, open {metrics['active']:,.0f} of {n:,}"
