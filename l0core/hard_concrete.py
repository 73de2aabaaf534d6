"""The Hard Concrete distribution: every formula, once (Louizos, Welling, Kingma 2018, arXiv 1712.01312).

A gate z in [0, 1] has a location a (`log_alpha`), a temperature beta and a stretch gamma < 0 < 1 < zeta. With
u ~ U(0, 1):

    s = sigmoid((logit u + a) / beta),   z = clip(s (zeta - gamma) + gamma, 0, 1)

Everything here is elementwise, works on any device and float type, and keeps the shape it is given.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

_TABLE_POINTS = 4097  # linear interpolation over these is exact to 3e-6 in the mean, below float32 noise in a fit
_TABLE_REACH = 16.0  # this far outside both thresholds a gate is open or closed to 1e-7
_QUADRATURE_POINTS = 400
_REACH = 15.0  # this far outside both thresholds a gate is open or closed to 3e-7, and can still come back


@dataclass(frozen=True, kw_only=True)
class GateShape:
    """Temperature and stretch of a family of gates: `beta` > 0, `gamma` < 0, `zeta` > 1."""

    beta: float
    gamma: float = -0.1
    zeta: float = 1.1

    @property
    def threshold(self) -> float:
        """The log_alpha at which a gate is as likely open as closed: beta log(-gamma / zeta)."""
        return self.beta * float(np.log(-self.gamma / self.zeta))

    @property
    def saturation(self) -> float:
        """The log_alpha from which on the deterministic gate is 1: beta log((1 - gamma) / (zeta - 1))."""
        return self.beta * float(np.log((1 - self.gamma) / (self.zeta - 1)))

    @property
    def reach(self) -> tuple[float, float]:
        """The locations a fit keeps its gates between: beyond them a gate could never open or close again."""
        return self.threshold - _REACH, self.saturation + _REACH


def deterministic_gate(log_alpha: Tensor, shape: GateShape) -> Tensor:
    """Give the test-time gate clip(sigmoid(a / beta)(zeta - gamma) + gamma, 0, 1).

    Divided by the temperature, so that a gate is above 0 if and only if `prob_active` is above 1/2.

    >>> deterministic_gate(torch.tensor([-4.0, 0.0, 4.0]), GateShape(beta=0.5)).tolist()
    [0.0, 0.5, 1.0]
    """
    return _clipped_stretch(torch.sigmoid(log_alpha / shape.beta), shape)


def sample(log_alpha: Tensor, noise: Tensor, shape: GateShape) -> Tensor:
    """Give a random gate, from `noise` = logit(u) with u uniform on (0, 1); differentiable in `log_alpha`."""
    return _clipped_stretch(torch.sigmoid((noise + log_alpha) / shape.beta), shape)


def draw(log_alpha: Tensor, noise: Tensor, shape: GateShape) -> tuple[Tensor, Tensor]:
    """Give `sample` and its slope dz/da, without autograd."""
    s = torch.sigmoid((noise + log_alpha) / shape.beta)
    value = _clipped_stretch(s, shape)
    inside = (value > 0) & (value < 1)
    slope = s * (1 - s) * ((shape.zeta - shape.gamma) / shape.beta)
    return value, torch.where(inside, slope, torch.zeros_like(slope))


def logistic_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw logit(u), u uniform on (0, 1), finite, in the shape, type and device of `like`.

    Half-width types are drawn in float32 and rounded: 256 different values of u would not make a distribution.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    u = torch.rand(like.shape, generator=generator, device=like.device, dtype=dtype)
    return torch.logit(u, eps=torch.finfo(dtype).eps).to(like.dtype)


def prob_active(log_alpha: Tensor, shape: GateShape) -> Tensor:
    """Give P(z > 0) = sigmoid(a - beta log(-gamma / zeta)).

    >>> round(prob_active(torch.tensor(0.0), GateShape(beta=2 / 3)).item(), 3)
    0.832
    """
    return torch.sigmoid(log_alpha - shape.threshold)


def prob_active_slope(log_alpha: Tensor, shape: GateShape) -> Tensor:
    """Give d prob_active / d log_alpha = p (1 - p), above 0 also where 1 - p would round to 0.

    >>> prob_active_slope(torch.tensor([0.0, 30.0]), GateShape(beta=2 / 3)).gt(0).tolist()
    [True, True]
    """
    away = torch.exp(-(log_alpha - shape.threshold).abs())
    return away / (1 + away).square()


def expected_l0(log_alpha: Tensor, shape: GateShape) -> Tensor:
    """Give the expected number of open gates, the sum of `prob_active`, in float64."""
    return prob_active(log_alpha, shape).sum(dtype=torch.float64)


def starting_log_alpha(init_keep_prob: float) -> float:
    """Give the location whose sigmoid is `init_keep_prob` (which is sigmoid(a), not `prob_active`)."""
    return float(np.log(init_keep_prob) - np.log1p(-init_keep_prob))


def _clipped_stretch(s: Tensor, shape: GateShape) -> Tensor:
    return torch.clamp(s * (shape.zeta - shape.gamma) + shape.gamma, 0.0, 1.0)


class GateMoments:
    """Mean and variance of a gate as functions of its location, tabulated once for a `GateShape`.

    From P(z > t) = sigmoid(a - beta logit((t - gamma) / (zeta - gamma))) for 0 <= t < 1:
    E z = int_0^1 P(z > t) dt and E z^2 = int_0^1 2 t P(z > t) dt (Gauss-Legendre). Between the points of the table
    both are linear, and the slopes given are the slopes of that line. `table` (2 x points) holds mean and variance at
    `low`, `low` + `step`, ..., and `slopes` (2 x points - 1) those of the lines between, of which the differences of
    float32 values would keep no digit where a gate is nearly open.
    """

    def __init__(self, shape: GateShape, *, device: str | torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.low, self.step, table = _moment_table(shape)
        self.table = torch.as_tensor(table, device=device, dtype=dtype)
        self.slopes = torch.as_tensor(np.diff(table, axis=1) / self.step, device=device, dtype=dtype)

    def __call__(self, log_alpha: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give (mean, d mean / da, variance, d variance / da), each of the shape of `log_alpha`."""
        position = ((log_alpha - self.low) / self.step).clamp(0, _TABLE_POINTS - 1.001)
        cell = position.nan_to_num(nan=0.0).long()  # NaN is no index; it goes on through `past`
        past = (position - cell) * self.step
        slopes = self.slopes[:, cell]
        mean, variance = torch.unbind(self.table[:, cell] + slopes * past)
        return mean, slopes[0], variance, slopes[1]


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Give Gauss and Legendre's nodes and weights, which cost as much as a table."""
    nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE_POINTS)
    return nodes, weights


@cache
def _moment_table(shape: GateShape) -> tuple[float, float, np.ndarray]:
    a = np.linspace(shape.threshold - _TABLE_REACH, shape.saturation + _TABLE_REACH, _TABLE_POINTS)
    nodes, node_weights = _quadrature()
    t, dt = (nodes + 1) / 2, node_weights / 2
    stretched = (t - shape.gamma) / (shape.zeta - shape.gamma)
    logit = np.log(stretched) - np.log1p(-stretched)
    beyond = 1 / (1 + np.exp(-(a[:, None] - shape.beta * logit)))
    mean, square = beyond @ dt, beyond @ (2 * t * dt)
    return float(a[0]), float(a[1] - a[0]), np.stack([mean, square - mean**2])
