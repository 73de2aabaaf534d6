"""Gates x log-weights: the one training loop of calibration. `descent` has the mathematics of an epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from l0core import checkpoint
from l0core import hard_concrete as hc
from l0core.arrays import FloatArray
from l0core.calibration.adam import Adam
from l0core.calibration.budget import BudgetPrice
from l0core.calibration.closing import check_distance, closed_below
from l0core.calibration.continuing import doubts, held_place
from l0core.calibration.cooling import settled, temperature
from l0core.calibration.descent import Descent, Matrix, Measured
from l0core.calibration.kernels import matrix_on
from l0core.calibration.kernels.norms import squared_norms
from l0core.calibration.losses import SQUARED
from l0core.calibration.objective import Objective
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.partial import WEIGHTS
from l0core.calibration.plateau import Plateau, Standing, travelled
from l0core.calibration.reweighing import DISTANCE, SHARE, expected_loss, mean_squares, tangents, weighed
from l0core.calibration.setting_out import gate_strategy, landscape, price_policy, starting_point
from l0core.calibration.walk import Walk, walk
from l0core.context import EpochReport, RunContext, Stopped
from l0core.errors import CheckpointIncompatible, Diverged
from l0core.history import History, log_distance, snapshot_distance

Evaluation = Callable[[FloatArray, Callable[[], FloatArray]], FloatArray]
"""Estimates of all the problem's targets, from those of the fit and the weights of the candidates."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The end of a selection: weights and deterministic gates of the candidates, and how useful each unit is."""

    weights: FloatArray
    gates: FloatArray
    usefulness: FloatArray
    history: History


class Selector:
    """The state of one selection and the loop over it."""

    def __init__(
        self,
        objective: Objective,
        options: CalibrationHyperparameters,
        context: RunContext,
        identity: checkpoint.Identity,
        estimates: Evaluation,
        *,
        matrix: Matrix | None = None,
    ) -> None:
        """Prepare the first step; `matrix` is the objective's on the device, where it is there already."""
        self._objective, self._options, self._context = objective, options, context
        self._identity, self._estimates = identity, estimates
        self._shape = hc.GateShape(beta=self._temperature(0.0), gamma=options.gamma, zeta=options.zeta)
        self._squared_norms = squared_norms(objective.plain, objective.factor)
        self._landscape = self._squares = landscape(
            objective,
            options,
            self._shape,
            matrix_on(torch.device(context.device), objective.plain) if matrix is None else matrix,
            norms=self._squared_norms,
            device=context.device,
        )
        self._to_relative = objective.to_relative
        self._price_policy = price_policy(objective, options)
        self._gates = gate_strategy(options, self._shape, context)
        self._walk = self._walk_from(Descent.start(starting_point(objective, options, context)))
        self._price = torch.tensor(self._price_policy.start, dtype=torch.float64, device=context.device)
        self._history, self._plateau = History(), Plateau()
        self._seen: tuple[int, Measured] | None = None
        self._last_log = (0, context.clock())
        self._keeper = checkpoint.Keeper(context, identity)
        self._begun_at, self._held_at = 0, math.nan
        self._importance: FloatArray | None = None
        if context.resume_from is not None:
            self._restore(context.resume_from)
        elif context.continue_from is not None:
            self._continue(context.continue_from)
        if self._importance is None and objective.cost != SQUARED:
            self._weigh(self._tangents())

    def run(self) -> Selection | Stopped:
        """Go on from where the state stands to the last epoch, or to where the context says stop."""
        while True:
            stopping = self._context.should_stop()
            self._checkpoint(forced=stopping or self.is_last)
            if stopping:
                return Stopped(epoch=self._epoch)
            self.look()
            if self.is_last:
                return self.selection()
            self._step()

    @property
    def is_last(self) -> bool:
        """Whether all epochs are done, or more would not make it better."""
        return self._epoch == self._options.epochs or self._plateau.is_reached

    @property
    def walk(self) -> Walk:
        """What takes the steps."""
        return self._walk

    def look(self) -> None:
        """Log where it is due."""
        if self._epoch % log_distance(self._options.epochs, self._context.log_every) == 0 or self.is_last:
            self._log()

    def next_price(self) -> Tensor:
        """Give lambda_l0 of the next step."""
        self._price = self._price_policy.update(self._price, self._walk.expected_l0, self._place * self._options.epochs)
        return self._price

    @property
    def _epoch(self) -> int:
        return self._walk.steps - self._begun_at

    @property
    def _place(self) -> float:
        """The share of its schedules that is over; held where a run that went on from another took it up."""
        return self._epoch / self._options.epochs if math.isnan(self._held_at) else self._held_at

    def _walk_from(self, state: Descent) -> Walk:
        return walk(state, self._gates, self._landscape)

    def _step(self) -> None:
        self._walk.step(self.next_price(), learning_rate=self.learning_rate())
        due = self._epoch % check_distance(self._options.epochs) == 0
        if due:
            below = closed_below(self._shape, hc.starting_log_alpha(self._options.init_keep_prob))
            self._walk.check_gates(below=below, least=self._price_policy.least)
        self.adjust()
        if self._options.early_stopping and (due or self._epoch == self._options.epochs):
            self._look_for_a_plateau()

    def adjust(self) -> None:
        """Bring the walk to the temperature that is due, and draw tangents where they are."""
        self._anneal()
        if self._importance is not None and self._epoch % DISTANCE == 0:
            self._weigh(self._tangents())

    def _weigh(self, importance: FloatArray) -> None:
        """Go on with rows that count so much."""
        self._importance = importance
        self._landscape, self._squared_norms = weighed(self._objective, self._landscape, importance)
        self._walk.reweigh(self._landscape)

    def _tangents(self) -> FloatArray:
        return tangents(self._objective, self._mean_squares(), self._place)

    def _mean_squares(self) -> FloatArray:
        """Give E e^2 of every row under the gates of the next step, which is a draw's own where gates are drawn."""
        state = self._walk.descent()
        variance = torch.zeros_like(state.theta[0])
        if self._options.gradient == "expected":
            variance = self._gates(state.theta[1])[2] * torch.exp(2 * state.theta[0]) * state.left
        return mean_squares(self._objective, _float64(self._walk.rows()), _float64(variance))

    def _anneal(self) -> None:
        due = self._temperature(self._place)
        if due != self._shape.beta:
            self._shape = replace(self._shape, beta=due)
            self._landscape = replace(self._landscape, shape=self._shape)
            self._gates = gate_strategy(self._options, self._shape, self._context)
            self._walk.anneal(self._gates, self._shape)

    def _temperature(self, place: float) -> float:
        return temperature(self._options.beta, self._options.temperature_schedule, place)

    def _look_for_a_plateau(self) -> None:
        """See whether this is the best state, and whether it goes on getting better."""
        if math.isnan(self._held_at) and self._place < self._schedules_end:
            return
        standing, price = self._standing(self._measured()), float(self._price)
        if not math.isfinite(standing.objective(price)):
            raise self._diverged()
        counting = self._could_have_closed()
        self._plateau = self._plateau.after(standing, self._theta, price=price, counting=counting)

    @property
    def _schedules_end(self) -> float:
        """The share of the epochs after which only the learning rate goes on changing."""
        rounded = 0.0 if self._importance is None else SHARE
        return max(self._price_policy.settled, settled(self._options.temperature_schedule), rounded)

    def _theta(self) -> Tensor:
        return self._walk.descent().theta.clone()

    def _standing(self, measured: Measured) -> Standing:
        errors = self._squares.residual_of(measured.rows).cpu().numpy() / np.sqrt(self._objective.omega)
        misfit = float(self._objective.omega @ self._objective.cost.value(errors))
        penalties = self._options.lambda_l2 * measured.squares + measured.spread_at_test_time
        return Standing(loss=misfit + penalties, open=measured.active)

    def _could_have_closed(self) -> bool:
        """Say whether the steps so far reach from where gates start to where they close."""
        held = not math.isnan(self._held_at)
        cosine = self._options.learning_rate_schedule == "cosine" and not held
        rate = self.learning_rate() if held else self._options.learning_rate
        way = hc.starting_log_alpha(self._options.init_keep_prob) - self._shape.threshold
        return travelled(self._epoch, self._options.epochs, rate, cosine=cosine) >= way

    def _measured(self) -> Measured:
        """Give how the state looks, measured once a step."""
        if self._seen is None or self._seen[0] != self._walk.steps:
            self._seen = self._walk.steps, self._walk.measure()
        return self._seen[1]

    def learning_rate(self) -> float:
        """Give Adam's step of the next epoch."""
        rate = self._options.learning_rate
        if self._options.learning_rate_schedule == "constant":
            return rate
        return rate * 0.5 * (1 + math.cos(math.pi * self._place))

    def _log(self) -> None:
        measured = self._measured()
        if self._importance is not None:
            measured = replace(measured, misfit=expected_loss(self._objective, self._mean_squares()))
        losses = measured.losses(price=float(self._price), lambda_l2=self._options.lambda_l2)
        metrics = losses | self._fit(measured) | self._settings()
        if not (math.isfinite(metrics["loss"]) and measured.sound):
            raise self._diverged()
        self._history.add(self._epoch, metrics)
        epochs = self._epoch if self.is_last else self._options.epochs  # where it stops early, these were all
        self._context.report(EpochReport(epoch=self._epoch, epochs=epochs, metrics=metrics))

    def _diverged(self) -> Diverged:
        return Diverged(
            f"after {self._epoch} epochs the loss is not a number or its gradient too large for float32: "
            f"lower learning_rate (now {self._options.learning_rate:g})",
            epoch=self._epoch,
        )

    def _fit(self, measured: Measured) -> dict[str, float]:
        """Give how well the deterministic weights would do as they are now."""
        residual = self._squares.residual_of(measured.rows).cpu().numpy()
        errors = np.abs(residual * self._to_relative)
        if self._epoch % snapshot_distance(self._options.epochs, self._context.log_every) == 0 or self.is_last:
            self._history.snapshots[self._epoch] = self._estimates(measured.rows.cpu().numpy(), self._weights)
        return {
            "active": float(measured.active),
            "mean_abs_relative_error": float(errors.mean()),
            "median_abs_relative_error": float(np.median(errors)),
            "max_abs_relative_error": float(errors.max()),
        }

    def _weights(self) -> FloatArray:
        """Give the candidates' weights under the test-time gates; 0 behind a closed one, whatever stands there."""
        weights, gates = self._deterministic(self._walk.descent().theta)
        return _float64(torch.where(gates > 0, weights * gates, 0.0))

    def _settings(self) -> dict[str, float]:
        epoch, then = self._last_log
        now = self._context.clock()
        self._last_log = (self._epoch, now)
        return {
            "lambda_l0": float(self._price),
            "temperature": self._shape.beta,
            "learning_rate": self.learning_rate(),
            "epoch_seconds": (now - then) / max(1, self._epoch - epoch),
        }

    def _deterministic(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        return torch.exp(theta[0]), hc.deterministic_gate(theta[1], self._shape)

    def selection(self) -> Selection:
        """Give what stands now, or with early stopping the best that stood."""
        best = self._plateau.best
        theta = self._walk.descent().theta if best is None else best.theta
        weights, gates = self._deterministic(theta)
        likely = torch.where(gates > 0, gates, hc.prob_active(theta[1], self._shape))
        useful = _float64(weights * likely) * np.sqrt(self._squared_norms)
        return Selection(weights=_float64(weights), gates=_float64(gates), usefulness=useful, history=self._history)

    def _checkpoint(self, *, forced: bool) -> None:
        if self._keeper.is_due(self._epoch, forced=forced):
            self._keeper.keep(self._epoch, self._sound_tensors(), self._history)

    def _sound_tensors(self) -> dict[str, Tensor]:
        """Give the state, and for whoever reads no state the weights it comes to; only where all are numbers."""
        state, weights = self._walk.descent(), self._weights()
        if not (state.is_sound() and np.isfinite(weights).all()):
            raise self._diverged()
        spread = torch.from_numpy(self._objective.dense(weights)).to(state.theta.dtype)
        return self._tensors(state) | {WEIGHTS: spread}

    def _tensors(self, state: Descent) -> dict[str, Tensor]:
        return {
            "log_weight": state.theta[0],
            "log_alpha": state.theta[1],
            "adam_first": state.adam.first,
            "adam_second": state.adam.second,
            "closed": state.closed,
            "lambda_l0": self._price,
            "gradient_unit": torch.tensor(state.unit, dtype=torch.float64),
            "begun_at": torch.tensor(self._begun_at),
            "held_at": torch.tensor(self._held_at, dtype=torch.float64),
            **self._plateau.tensors(),
            **({} if self._importance is None else {"row_importance": torch.from_numpy(self._importance)}),
        }

    def _restore(self, path: Path) -> None:
        """Go on with this run from its own checkpoint, as if nothing had happened."""
        epoch, held, self._history = checkpoint.read(path, self._identity)
        self._take_up(path, epoch, held)
        self._price = held["lambda_l0"].to(self._context.device)
        self._begun_at, self._held_at = int(held["begun_at"]), float(held["held_at"])
        self._plateau = Plateau.of(held, self._context.device)
        self._last_log = (self._epoch, self._context.clock())
        self._anneal()

    def _continue(self, path: Path) -> None:
        """Begin this run where another of the same problem stood, its schedules held there."""
        other, epoch, held = checkpoint.read_of_problem(path, self._identity.problem_sha256)
        self._take_up(path, epoch, held)
        if isinstance(self._price_policy, BudgetPrice):
            self._price = held["lambda_l0"].to(self._context.device)
        self._begun_at = self._walk.steps
        self._held_at = held_place(epoch, other.hyperparameters["epochs"], float(held["held_at"]))
        self._anneal()
        for doubt in doubts(other.hyperparameters, self._identity.hyperparameters, self.learning_rate()):
            self._context.report(doubt)

    def _take_up(self, path: Path, epoch: int, held: dict[str, Tensor]) -> None:
        """Put the walk where a checkpoint's stood."""
        absent = self._tensors(self._walk.descent()).keys() - held.keys()
        if absent:
            raise CheckpointIncompatible(f"'{path}' holds no {min(absent)}: another engine wrote it; start without it")
        units = held["log_weight"].shape[0]
        if units != self._objective.n_candidates:
            raise CheckpointIncompatible(
                f"'{path}' has {units} units to choose from, and this run {self._objective.n_candidates}: give the "
                "zero_prior it was made with, or start without it"
            )
        device = self._context.device
        theta = torch.stack([held["log_weight"], held["log_alpha"]]).to(device)
        adam = Adam(first=held["adam_first"].to(device), second=held["adam_second"].to(device))
        closed, unit = held["closed"].to(device), float(held["gradient_unit"])
        steps = epoch + int(held["begun_at"])
        self._walk = self._walk_from(Descent(theta=theta, adam=adam, closed=closed, steps=steps, unit=unit))
        if "row_importance" in held and self._objective.cost != SQUARED:
            self._weigh(held["row_importance"].numpy())


def _float64(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.double().cpu().numpy())
