"""`SparseCalibrationWeights`: survey weights, most of them exactly 0, that meet published totals."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self, TypedDict

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from l0core import arrays, tensors
from l0core.arrays import Axis, FloatArray
from l0core.calibration.descent import positive
from l0core.calibration.fitting import Schedule, Totals
from l0core.calibration.gated_vector import GatedVector
from l0core.calibration.objective import group_factors
from l0core.errors import InvalidHyperparameter, InvalidInput
from l0core.noise import noise_of
from l0core.scalars import NOT_NEGATIVE, choice, flag, number, whole

LossType = Literal["mse", "relative"]
_LOSS_TYPES = ("mse", "relative")


class ActiveWeights(TypedDict):
    """The units that are kept: (count,) int64 indices, (count,) float32 weights, and their number."""

    indices: Tensor
    values: Tensor
    count: int


class SparseCalibrationWeights(GatedVector):
    """N non-negative weights exp(log_weight), each behind a Hard Concrete gate, fitted to Q totals.

    Starts at `init_weights` (one number or N, >= 0; None: 1) and at gates of sigmoid(log_alpha) = `init_keep_prob`
    (one number or N, inside (0, 1)), moved by `log_alpha_jitter_sd` at once and by `log_weight_jitter_sd` at the first
    `fit`. A unit of initial weight 0 keeps it. `beta` > 0, `gamma` < 0 and `zeta` > 1 shape the gates;
    `use_gates=False` leaves them all open. `seed` or `generator` decides every random number; with neither, a stream
    of its own (see `l0core.noise`).

    Parameters are `log_weight` and `log_alpha`, each (N,) float32; `history` holds what was recorded.
    Raises InvalidHyperparameter or InvalidInput with the argument, the first bad position and the value.
    Source: Louizos, Welling, Kingma 2018, arXiv 1712.01312; interface and loss of l0-python 0.6.2.

    >>> M = sp.random_array((10, 400), density=0.3, rng=np.random.default_rng(1))
    >>> y = M @ np.full(400, 50.0)
    >>> model = SparseCalibrationWeights(n_features=400, beta=0.35, init_weights=50.0, seed=1)
    >>> _ = model.fit(M, y, lambda_l0=1e-3, lr=0.05, epochs=1000, loss_type="relative")
    >>> model.get_active_weights()["count"] < 200, bool((abs(model.predict(M).numpy() / y - 1) < 0.1).all())
    (True, True)
    """

    _nothing: ClassVar[float] = -np.inf

    def __init__(
        self,
        n_features: int,
        beta: float = 2 / 3,
        gamma: float = -0.1,
        zeta: float = 1.1,
        init_keep_prob: float | ArrayLike = 0.5,
        init_weights: float | ArrayLike | None = None,
        log_weight_jitter_sd: float = 0.0,
        log_alpha_jitter_sd: float = 0.01,
        device: str | torch.device = "cpu",
        use_gates: bool = True,
        seed: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            n_features,
            positive,
            beta=beta,
            gamma=gamma,
            zeta=zeta,
            use_gates=use_gates,
            noise=noise_of(seed=seed, generator=generator),
            device=device,
        )
        self.log_weight_jitter_sd = number(log_weight_jitter_sd, name="log_weight_jitter_sd", within=NOT_NEGATIVE)
        self.log_alpha_jitter_sd = number(log_alpha_jitter_sd, name="log_alpha_jitter_sd", within=NOT_NEGATIVE)
        self.seed = seed
        self.log_weight = nn.Parameter(self._starting_weights(1.0 if init_weights is None else init_weights))
        self.log_alpha = self._starting_gates(init_keep_prob, self.log_alpha_jitter_sd)

    @property
    def weight_parameter(self) -> nn.Parameter:
        """`log_weight`."""
        return self.log_weight

    def fit(
        self,
        M: Any,
        y: ArrayLike | Tensor,
        lambda_l0: float = 0.01,
        lambda_l2: float = 0.0,
        lr: float = 0.01,
        epochs: int = 1000,
        loss_type: LossType = "mse",
        verbose: bool = False,
        verbose_freq: int = 100,
        target_groups: ArrayLike | None = None,
        normalize_groups: bool = True,
        group_multipliers: Mapping[int, float] | None = None,
    ) -> Self:
        """Take `epochs` steps of Adam at `lr` towards M w = y, and give the model itself.

        Minimises sum_i g_i e_i^2 + lambda_l0 E[open gates] + lambda_l2 sum_j exp(2 log_weight_j), one draw of the gates
        a step. e_i = (y_i - estimate_i) / (y_i + 1) for "relative", y_i - estimate_i for "mse". g_i = 1; with
        `target_groups` (Q whole numbers) 1 over the size of the target's group unless `normalize_groups` is False,
        times `group_multipliers[group]` (>= 0, default 1).

        `M` is Q x N, scipy, numpy or torch, sparse or dense; `y` has Q numbers. A further call goes on with the same
        Adam moments and stream of draws, on the matrix it is given: two fits of n are one of 2n. Every `verbose_freq`
        epochs and at the end the deterministic weights are measured into `history` (loss, data_loss, l0_penalty,
        l2_penalty, expected_l0, active, mean_abs_error, max_abs_error; the errors are |e_i|); `verbose` also shows
        them beside a progress bar. Neither changes a number. Cost: one read of the matrix a step on the CPU.

        Raises InvalidInput for bad arrays (a "relative" target of -1 among them), InvalidHyperparameter for bad
        settings, Diverged where the loss stops being a number or its gradient is too large for float32; then parameters
        and history are as before this call.
        """
        schedule = Schedule.checked(
            price=("lambda_l0", lambda_l0), lr=lr, epochs=epochs, verbose=verbose, verbose_freq=verbose_freq
        )
        lambda_l2 = number(lambda_l2, name="lambda_l2", within=NOT_NEGATIVE)
        totals = _totals(tensors.matrix(M, name="M", columns=self.n_features), y, loss_type)
        factors = _factors(totals.values.size, target_groups, normalize_groups, group_multipliers)
        totals = replace(totals, importance=factors)
        self._fit(totals, schedule, lambda_l2=lambda_l2, jitter_sd=self.log_weight_jitter_sd)
        return self

    def forward(self, M: Any, deterministic: bool = False) -> Tensor:
        """Give M w, of shape (Q,), under drawn or test-time gates; differentiable in the parameters."""
        return self._product(M, self.get_weights(deterministic), name="M")

    def predict(self, M: Any) -> Tensor:
        """Give M w, of shape (Q,), under the test-time gates, detached. `M` may be any matrix over the same units."""
        with torch.no_grad():
            return self.forward(M, deterministic=True)

    def get_active_weights(self) -> ActiveWeights:
        """Give the units whose test-time weight is above 0: ascending int64 indices, their weights, their number."""
        weights = self.get_weights(deterministic=True).detach()
        indices = torch.nonzero(weights > 0).flatten()
        return ActiveWeights(indices=indices, values=weights[indices], count=len(indices))

    def _starting_weights(self, init_weights: ArrayLike) -> Tensor:
        weights = self._one_or_all(init_weights, "init_weights", lambda w: w >= 0, "must be 0 or more")
        with np.errstate(divide="ignore"):  # a weight of 0 is a logarithm of -inf, and stays
            return torch.as_tensor(np.log(weights), dtype=torch.float32, device=self._start_on)

    def _settle(self, totals: Totals) -> None:
        """Nothing follows."""


def _totals(matrix: sp.csr_array, y: ArrayLike | Tensor, loss_type: str) -> Totals:
    loss_type = choice(loss_type, name="loss_type", choices=_LOSS_TYPES)
    rows = Axis(length=matrix.shape[0], noun="rows of M")
    values = arrays.vector(tensors.plain(y, name="y"), name="y", axis=rows)
    unit = values + 1 if loss_type == "relative" else np.ones(values.size)
    bad = np.flatnonzero(unit == 0)
    if bad.size:
        raise InvalidInput(
            f"y[{bad[0]}] is -1, and the relative loss divides by y + 1: use loss_type 'mse' or shift that target "
            f"({bad.size} such values)",
            pointer=f"/y/{bad[0]}",
        )
    return Totals(matrix=matrix, values=values, unit=unit, importance=np.ones(values.size))


def _factors(
    n: int, groups: ArrayLike | None, normalize_groups: bool, multipliers: Mapping[int, float] | None
) -> FloatArray:
    normalize = flag(normalize_groups, name="normalize_groups")
    if multipliers is not None and not isinstance(multipliers, Mapping):
        raise InvalidHyperparameter(
            f"group_multipliers is {multipliers!r}; it must be a mapping from groups to numbers",
            pointer="/group_multipliers",
        )
    if groups is None:
        if multipliers:
            raise InvalidHyperparameter(
                "group_multipliers is given without target_groups: give the group of each target",
                pointer="/group_multipliers",
            )
        return np.ones(n)
    given = tensors.plain(groups, name="target_groups")
    labels = arrays.integers(given, name="target_groups", axis=Axis(length=n, noun="rows of M"))
    return group_factors(labels, normalize=normalize, multipliers=_multipliers(multipliers or {}))


def _multipliers(given: Mapping[int, float]) -> dict[int, float]:
    return {
        whole(group, name="a group in group_multipliers", at_least=-(2**53)): number(
            factor, name=f"group_multipliers[{group!r}]", within=NOT_NEGATIVE
        )
        for group, factor in given.items()
    }
