"""Gates x log-weights: the one training loop of calibration, with hand-written gradients.

For unit j with weight w_j = exp(log_weight_j), gate value m_j and gate variance v_j (0 when gates are drawn):

    loss = ||A (w m) - b||^2 + sum_j w_j^2 v_j ||a_j||^2 + lambda_l0 sum_j p_j + lambda_l2 sum_j w_j^2

With drawn gates the first sum is one sample of the expected loss; with their mean and variance the first two are that
expectation in closed form, because the loss is quadratic and the gates are independent.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.arrays import FloatArray
from l0core.calibration import checkpoint
from l0core.calibration.adam import Adam
from l0core.calibration.budget import BudgetPrice, FixedPrice, Price
from l0core.calibration.history import History, log_distance, snapshot_distance
from l0core.calibration.kernels.torch_csr import TorchMatrix
from l0core.calibration.objective import Objective, price_of_a_unit
from l0core.calibration.options import CalibrationHyperparameters
from l0core.context import CheckpointPolicy, EpochReport, RunContext, Stopped
from l0core.errors import Diverged

Evaluation = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The end of a selection: weights and deterministic gates of the candidates, and how useful each unit is."""

    weights: FloatArray
    gates: FloatArray
    usefulness: FloatArray
    history: History


class Gates(Protocol):
    """How the gates enter an epoch: value, its slope, variance, its slope, each by unit."""

    def __call__(self, log_alpha: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give the four for these locations."""
        ...


class _DrawnGates:
    def __init__(self, shape: hc.GateShape, generator: torch.Generator) -> None:
        self._shape, self._generator = shape, generator

    def __call__(self, log_alpha: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        value, slope = hc.draw(log_alpha, hc.logistic_noise(log_alpha, self._generator), self._shape)
        nothing = torch.zeros_like(value)
        return value, slope, nothing, nothing


@dataclass(frozen=True, kw_only=True)
class _Epoch:
    """One forward pass: what the step and the log both need."""

    weights: Tensor
    gate: tuple[Tensor, Tensor, Tensor, Tensor]
    residual: Tensor
    prob_active: Tensor


class Selector:
    """The state of one selection and the loop over it."""

    def __init__(
        self,
        objective: Objective,
        options: CalibrationHyperparameters,
        context: RunContext,
        identity: checkpoint.Identity,
        estimates: Evaluation,
    ) -> None:
        self._objective, self._options, self._context = objective, options, context
        self._identity, self._estimates = identity, estimates
        self._shape = hc.GateShape(beta=options.beta, gamma=options.gamma, zeta=options.zeta)
        self._matrix = TorchMatrix(objective.matrix, device=context.device)
        self._goal = self._tensor(objective.goal)
        self._squared_norms = self._tensor(objective.column_norms**2)
        self._to_relative = objective.to_relative
        self._price_policy = _price_policy(objective, options)
        self._generator = torch.Generator(device=context.device).manual_seed(context.seed)
        self._gates = self._gate_strategy()
        self._theta = self._starting_point()  # row 0: log_weight, row 1: log_alpha
        self._adam = Adam.for_parameter(self._theta)
        self._price = torch.tensor(self._price_policy.start, dtype=torch.float64, device=context.device)
        self._epoch = 0
        self._history = History()
        self._last_log = (0, context.clock())
        self._last_checkpoint = context.clock()
        if context.resume_from is not None:
            self._restore(context.resume_from)

    def run(self) -> Selection | Stopped:
        """Go on from where the state stands to the last epoch, or to where the context says stop."""
        while True:
            stopping = self._context.should_stop()
            self._checkpoint(forced=stopping or self._is_last())
            if stopping:
                return Stopped(epoch=self._epoch)
            pass_ = self._forward()
            if self._log_due():
                self._log(pass_)
            if self._epoch == self._options.epochs:
                return self._selection()
            self._step(pass_)
            self._epoch += 1

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self._context.device)

    def _gate_strategy(self) -> Gates:
        if self._options.gradient == "sampled":
            return _DrawnGates(self._shape, self._generator)
        return hc.GateMoments(self._shape, device=self._context.device)

    def _starting_point(self) -> Tensor:
        log_weight = self._tensor(np.log(self._objective.prior))  # finite where the weight itself is 0 in float32
        log_alpha = torch.full_like(log_weight, hc.starting_log_alpha(self._options.init_keep_prob))
        spread = (self._options.log_weight_jitter_sd, self._options.log_alpha_jitter_sd)
        return torch.stack(
            [start + sd * self._normal(start) for start, sd in zip((log_weight, log_alpha), spread, strict=True)]
        )

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self._generator, device=like.device, dtype=like.dtype)

    def _forward(self) -> _Epoch:
        weights = torch.exp(self._theta[0])
        gate = self._gates(self._theta[1])
        residual = self._matrix.times(weights * gate[0]) - self._goal
        return _Epoch(
            weights=weights, gate=gate, residual=residual, prob_active=hc.prob_active(self._theta[1], self._shape)
        )

    def _step(self, pass_: _Epoch) -> None:
        expected_open = pass_.prob_active.sum(dtype=torch.float64)
        self._price = self._price_policy.update(self._price, expected_open, self._epoch)
        gradient = self._gradient(pass_)
        self._adam.step(self._theta, gradient, step=self._epoch + 1, learning_rate=self._learning_rate())

    def _gradient(self, pass_: _Epoch) -> Tensor:
        value, slope, variance, variance_slope = pass_.gate
        w = pass_.weights
        pull = 2 * self._matrix.transposed_times(pass_.residual)
        curvature = w * w * self._squared_norms
        by_log_weight = w * value * pull + 2 * curvature * variance + 2 * self._options.lambda_l2 * w * w
        p = pass_.prob_active
        by_log_alpha = w * slope * pull + curvature * variance_slope + self._price.to(w.dtype) * p * (1 - p)
        return torch.stack([by_log_weight, by_log_alpha])

    def _learning_rate(self) -> float:
        rate = self._options.learning_rate
        if self._options.learning_rate_schedule == "constant":
            return rate
        return rate * 0.5 * (1 + math.cos(math.pi * self._epoch / self._options.epochs))

    def _log_due(self) -> bool:
        return self._epoch % log_distance(self._options.epochs, self._context.log_every) == 0 or self._is_last()

    def _is_last(self) -> bool:
        return self._epoch == self._options.epochs

    def _log(self, pass_: _Epoch) -> None:
        metrics = self._losses(pass_) | self._fit() | self._settings()
        if not math.isfinite(metrics["loss"]):
            raise self._diverged()
        self._history.add(self._epoch, metrics)
        self._context.report(EpochReport(epoch=self._epoch, epochs=self._options.epochs, metrics=metrics))

    def _diverged(self) -> Diverged:
        return Diverged(
            f"the loss is not a number after {self._epoch} epochs: lower learning_rate "
            f"(now {self._options.learning_rate:g})",
            epoch=self._epoch,
        )

    def _losses(self, pass_: _Epoch) -> dict[str, float]:
        squares = (pass_.weights**2).double()
        spread = (squares * (self._squared_norms * pass_.gate[2])).sum()
        data_loss = float((pass_.residual.double() ** 2).sum() + spread)
        expected = float(pass_.prob_active.sum(dtype=torch.float64))
        l0_penalty = float(self._price) * expected
        l2_penalty = self._options.lambda_l2 * float(squares.sum())
        parts = {"data_loss": data_loss, "l0_penalty": l0_penalty, "l2_penalty": l2_penalty, "expected_l0": expected}
        return {"loss": data_loss + l0_penalty + l2_penalty, **parts}

    def _fit(self) -> dict[str, float]:
        """Measure the deterministic weights as they would be used now."""
        weights, gates = self._deterministic()
        residual = self._matrix.times(weights * gates) - self._goal
        errors = np.abs(residual.double().cpu().numpy() * self._to_relative)
        if self._epoch % snapshot_distance(self._options.epochs, self._context.log_every) == 0 or self._is_last():
            self._history.snapshots[self._epoch] = self._estimates(_float64(weights * gates))
        return {
            "active": float((gates > 0).sum()),
            "mean_abs_relative_error": float(errors.mean()),
            "median_abs_relative_error": float(np.median(errors)),
            "max_abs_relative_error": float(errors.max()),
        }

    def _settings(self) -> dict[str, float]:
        epoch, then = self._last_log
        now = self._context.clock()
        self._last_log = (self._epoch, now)
        return {
            "lambda_l0": float(self._price),
            "temperature": self._options.beta,
            "learning_rate": self._learning_rate(),
            "epoch_seconds": (now - then) / max(1, self._epoch - epoch),
        }

    def _deterministic(self) -> tuple[Tensor, Tensor]:
        return torch.exp(self._theta[0]), hc.deterministic_gate(self._theta[1], self._shape)

    def _selection(self) -> Selection:
        weights, gates = self._deterministic()
        likely = torch.where(gates > 0, gates, hc.prob_active(self._theta[1], self._shape))
        useful = _float64(weights * likely) * self._objective.column_norms
        return Selection(weights=_float64(weights), gates=_float64(gates), usefulness=useful, history=self._history)

    def _checkpoint(self, *, forced: bool) -> None:
        policy = self._context.checkpoints
        if policy is None or not (forced or self._checkpoint_due(policy)):
            return
        if not bool(torch.isfinite(self._theta).all()):
            raise self._diverged()
        policy.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write(policy.path, self._identity, self._epoch, self._tensors(), self._history)
        self._last_checkpoint = self._context.clock()
        policy.saved(policy.path, self._epoch)

    def _checkpoint_due(self, policy: CheckpointPolicy) -> bool:
        if policy.every_epochs is not None:
            return self._epoch > 0 and self._epoch % policy.every_epochs == 0
        return self._context.clock() - self._last_checkpoint >= policy.every_seconds

    def _tensors(self) -> dict[str, Tensor]:
        return {
            "log_weight": self._theta[0],
            "log_alpha": self._theta[1],
            "adam_first": self._adam.first,
            "adam_second": self._adam.second,
            "lambda_l0": self._price,
            "generator": self._generator.get_state(),
        }

    def _restore(self, path: Path) -> None:
        self._epoch, held, self._history = checkpoint.read(path, self._identity)
        device = self._context.device
        self._theta = torch.stack([held["log_weight"], held["log_alpha"]]).to(device)
        self._adam = Adam(first=held["adam_first"].to(device), second=held["adam_second"].to(device))
        self._price = held["lambda_l0"].to(device)
        self._generator.set_state(held["generator"])
        self._last_log = (self._epoch, self._context.clock())


def _float64(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.double().cpu().numpy())


def _price_policy(objective: Objective, options: CalibrationHyperparameters) -> Price:
    if options.record_budget is None:
        return FixedPrice(start=price_of_a_unit(objective, options))
    return BudgetPrice(
        start=price_of_a_unit(objective, options),
        budget=options.record_budget,
        candidates=objective.n_candidates,
        epochs=options.epochs,
    )
