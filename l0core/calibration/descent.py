"""One epoch of gates x weights, as pure functions of the parameters, with hand-written gradients; and its state.

For unit j with weight w_j, gate value m_j and gate variance v_j (0 when gates are drawn):

    loss = ||A (w m) - b||^2 + sum_j w_j^2 v_j ||a_j||^2 + lambda_l0 sum_j p_j + lambda_l2 sum_j w_j^2
           + sum_j (k_j w_j)^2 (m_j^2 + v_j)

With drawn gates the first sum is one sample of the expected loss; with their mean and variance the first two are that
expectation in closed form, because the loss is quadratic and the gates are independent. The last sum is what
`lambda_spread` adds, k_j = sqrt(lambda_spread / units) / d_j.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.calibration.adam import Adam
from l0core.calibration.closing import REMOVED
from l0core.noise import epoch_key, logistic_by_number

_UNIT_REACH = 100  # powers of two; float32 ends at 2^127, and a product with the gradient must stay inside too
GateValues = tuple[Tensor, Tensor, Tensor, Tensor]


class Matrix(Protocol):
    """M in float32, wherever it lies."""

    def times(self, weights: Tensor) -> Tensor:
        """Give M w."""
        ...

    def transposed_times(self, residual: Tensor) -> Tensor:
        """Give M' r."""
        ...

    def keep(self, units: Tensor) -> None:
        """Hold the columns of these units alone (n booleans); the others count as empty from now on."""
        ...


class Gates(Protocol):
    """How the gates enter an epoch: value, its slope, variance, its slope, each by unit."""

    def __call__(self, log_alpha: Tensor) -> GateValues:
        """Give the four for these locations."""
        ...


@dataclass(frozen=True, kw_only=True)
class DrawnGates:
    """One draw of every gate an epoch, decided by `seed`, the epoch and the unit's number."""

    shape: hc.GateShape
    seed: int
    epoch: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """What decides this epoch's draw."""
        return epoch_key(self.seed, self.epoch)

    def __call__(self, log_alpha: Tensor) -> GateValues:
        """Draw."""
        value, slope = hc.draw(log_alpha, logistic_by_number(log_alpha, self.key), self.shape)
        nothing = torch.zeros_like(value)
        return value, slope, nothing, nothing


@dataclass(frozen=True, kw_only=True)
class DeterministicGates:
    """The test-time gates, to be measured: they do not move."""

    shape: hc.GateShape

    def __call__(self, log_alpha: Tensor) -> GateValues:
        """Give the gates."""
        nothing = torch.zeros_like(log_alpha)
        return hc.deterministic_gate(log_alpha, self.shape), nothing, nothing, nothing


class OpenGates:
    """No gates: everything is open and stays so."""

    def __call__(self, log_alpha: Tensor) -> GateValues:
        """Give ones that do not move."""
        nothing = torch.zeros_like(log_alpha)
        return torch.ones_like(log_alpha), nothing, nothing, nothing


def gates_at(gates: Gates, epoch: int) -> Gates:
    """Give the gates of an epoch: other draws, or the same."""
    return replace(gates, epoch=epoch) if isinstance(gates, DrawnGates) else gates


WeightForm = Callable[[Tensor], tuple[Tensor, Tensor]]  # how weights and their slopes are made of their parameters


def positive(log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Give w = exp(log_weight), whose slope is itself."""
    weights = torch.exp(log_weight)
    return weights, weights


def signed(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Give the weights as they are, of slope 1."""
    return weight, torch.ones_like(weight)


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """What is minimised, prices aside: A = diag(`factor`) M, b, ||a_j||^2, lambda_l2, and how weights are made.

    `spread` are the k_j by which a gated weight costs its square; None where it costs nothing.
    `centred`: an intercept, not penalised, is always at its best, which takes the mean off the residual.
    """

    matrix: Matrix
    factor: Tensor
    goal: Tensor
    squared_norms: Tensor
    shape: hc.GateShape
    lambda_l2: float
    form: WeightForm = positive
    centred: bool = False
    spread: Tensor | None = None

    def residual(self, weights: Tensor) -> Tensor:
        """Give A w - b."""
        return self.residual_of(self.matrix.times(weights))

    def residual_of(self, rows: Tensor) -> Tensor:
        """Give F rows - b, where `rows` are M w."""
        residual = self.factor * rows - self.goal
        return residual - residual.mean() if self.centred else residual

    def pull(self, residual: Tensor) -> Tensor:
        """Give A' r."""
        return self.matrix.transposed_times(self.factor * residual)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One forward pass: what the step and the log both need."""

    weights: Tensor
    weight_slope: Tensor
    gate: GateValues
    rows: Tensor
    residual: Tensor
    prob_active: Tensor
    prob_active_slope: Tensor


def forward(theta: Tensor, gates: Gates, landscape: Landscape) -> Epoch:
    """Evaluate at `theta` (row 0: parameters of the weights, row 1: log_alpha)."""
    weights, slope = landscape.form(theta[0])
    gate = gates(theta[1])
    rows = landscape.matrix.times(weights * gate[0])
    return Epoch(
        weights=weights,
        weight_slope=slope,
        gate=gate,
        rows=rows,
        residual=landscape.residual_of(rows),
        prob_active=hc.prob_active(theta[1], landscape.shape),
        prob_active_slope=hc.prob_active_slope(theta[1], landscape.shape),
    )


def gradient(epoch: Epoch, landscape: Landscape, price: Tensor) -> Tensor:
    """Give the gradient of the loss by `theta`; `price` is lambda_l0."""
    w, (value, slope, variance, variance_slope) = epoch.weights, epoch.gate
    pull = 2 * landscape.pull(epoch.residual)
    spread = w * landscape.squared_norms
    by_weight = value * pull + 2 * spread * variance + 2 * landscape.lambda_l2 * w
    by_log_alpha = w * slope * pull + spread * (w * variance_slope) + price.to(w.dtype) * epoch.prob_active_slope
    if landscape.spread is not None:
        cost = landscape.spread * (landscape.spread * w)
        by_weight = by_weight + 2 * cost * (value**2 + variance)
        by_log_alpha = by_log_alpha + cost * w * (2 * value * slope + variance_slope)
    return torch.stack([epoch.weight_slope * by_weight, by_log_alpha])


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A descent looked at, sums in float64: what the log needs. `rows` are M w g under the test-time gates.

    `misfit` is the first two terms of the loss under the epoch's gates, `squares` sum w^2, `active` how many test-time
    gates are above 0; not `sound` where parameters or moments are no numbers any more. `spread` is the last term of the
    loss, and `spread_at_test_time` the same under the test-time gates.
    """

    rows: Tensor
    misfit: float
    squares: float
    expected_l0: float
    active: int
    sound: bool
    spread: float = 0.0
    spread_at_test_time: float = 0.0

    def losses(self, *, price: float, lambda_l2: float) -> dict[str, float]:
        """Give the loss and its parts; `price` is lambda_l0."""
        return self._losses(self.misfit, self.spread, price, lambda_l2)

    def losses_at_test_time(self, landscape: Landscape, *, price: float) -> dict[str, float]:
        """Give the loss of the test-time gates, and its parts."""
        misfit = float((landscape.residual_of(self.rows) ** 2).sum())
        return self._losses(misfit, self.spread_at_test_time, price, landscape.lambda_l2)

    def _losses(self, misfit: float, spread: float, price: float, lambda_l2: float) -> dict[str, float]:
        parts = {"data_loss": misfit, "l0_penalty": price * self.expected_l0, "l2_penalty": lambda_l2 * self.squares}
        return {"loss": sum(parts.values()) + spread, **parts, "expected_l0": self.expected_l0}


def measure(state: "Descent", gates: Gates, landscape: Landscape) -> Measured:
    """Look at a descent; it is not changed."""
    epoch = forward(state.theta, gates, landscape)
    squares = epoch.weights.double() ** 2
    spread = (squares * (landscape.squared_norms * epoch.gate[2])).sum()
    fixed = gates if isinstance(gates, OpenGates) else DeterministicGates(shape=landscape.shape)
    at_test_time = fixed(state.theta[1])[0]
    costs = squares * 0 if landscape.spread is None else squares * landscape.spread.double() ** 2
    return Measured(
        rows=landscape.matrix.times(epoch.weights * at_test_time).double(),
        misfit=float((epoch.residual.double() ** 2).sum() + spread),
        squares=float(squares.sum()),
        expected_l0=float(epoch.prob_active[state.left].sum(dtype=torch.float64)),
        active=int((at_test_time > 0).sum()),
        sound=state.is_sound(),
        spread=float((costs * (epoch.gate[0] ** 2 + epoch.gate[2])).sum()),
        spread_at_test_time=float((costs * at_test_time**2).sum()),
    )


@dataclass(kw_only=True)
class Descent:
    """The parameters (2 x units), Adam's moments and how many steps were taken: what one fit moves.

    `unit` is a power of two that gradients are multiplied with, set at the first step so that the largest is near 1:
    Adam's steps do not depend on it, and its squares stay inside float32 whether targets are in people or in dollars.
    `closed` says of each unit at how many checks in a row its gate was closed, or that it is removed (see `closing`).
    """

    theta: Tensor
    adam: Adam
    closed: Tensor
    steps: int = 0
    unit: float = 1.0

    @classmethod
    def start(cls, theta: Tensor) -> "Descent":
        """Begin at `theta`, which will be changed in place."""
        closed = torch.zeros(theta.shape[1], dtype=torch.uint8, device=theta.device)
        return cls(theta=theta, adam=Adam.for_parameter(theta), closed=closed)

    @property
    def left(self) -> Tensor:
        """The units that are not removed (booleans)."""
        return self.closed != REMOVED

    def at(self, theta: Tensor) -> "Descent":
        """Give the same descent, moments and steps, at other parameters; neither touches the other's tensors."""
        moments = Adam(first=self.adam.first.to(theta, copy=True), second=self.adam.second.to(theta, copy=True))
        return replace(self, theta=theta, adam=moments, closed=self.closed.to(theta.device, copy=True))

    def become(self, other: "Descent") -> None:
        """Take over the state of another."""
        self.theta, self.adam, self.closed = other.theta, other.adam, other.closed
        self.steps, self.unit = other.steps, other.unit

    def is_sound(self) -> bool:
        """Say whether parameters and moments are numbers still: an infinite moment would make every step 0.

        A log-weight of -inf is one: a weight of 0.
        """
        moments = torch.isfinite(self.adam.first).all() & torch.isfinite(self.adam.second).all()
        return bool(moments & (self.theta < math.inf).all())

    def step(self, slope: Tensor, shape: hc.GateShape, *, learning_rate: float) -> None:
        """Take Adam's next step against `slope`, and keep every location within reach."""
        if self.steps == 0:
            self.unit = unit_of(slope)
        self.steps += 1
        self.adam.step(self.theta, slope * self.unit, step=self.steps, learning_rate=learning_rate)
        self.theta[1].clamp_(*shape.reach)


def unit_of(gradient: Tensor) -> float:
    """Give the power of two that brings the largest number of `gradient` near 1; 1 where there is none."""
    largest = float(gradient.abs().max()) if gradient.numel() else 0.0
    if not 0 < largest < math.inf:
        return 1.0
    return 2.0 ** -max(-_UNIT_REACH, min(_UNIT_REACH, math.frexp(largest)[1]))
