"""`SparseL0Linear`: sparse linear regression by gates, for data as sparse matrices."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from l0core import arrays, tensors
from l0core.arrays import Axis
from l0core.calibration.descent import signed
from l0core.calibration.fitting import Schedule, Totals
from l0core.calibration.gated_vector import GatedVector
from l0core.noise import noise_of
from l0core.scalars import FRACTION, flag, number

_JITTER_SD = 0.01


class SparseL0Linear(GatedVector):
    """y = X (weight * gates) + bias, with signed weights that start at 0 and gates that drop features.

    `beta` > 0, `gamma` < 0 and `zeta` > 1 shape the gates, `init_keep_prob` is sigmoid(log_alpha) at the start (one
    number or `n_features`, inside (0, 1)). `seed` or `generator` decides every random number; with neither, a stream
    of its own (see `l0core.noise`).

    Parameters are `weight` and `log_alpha` (`n_features`,) and, unless `fit_intercept=False`, `bias` (1,).
    Raises InvalidHyperparameter or InvalidInput with the argument, the first bad position and the value.
    Source: Louizos, Welling, Kingma 2018, arXiv 1712.01312; interface of l0-python 0.6.2.

    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> y = X @ np.array([1.0, 0.0, -2.0, 0.0]) + 5.0
    >>> model = SparseL0Linear(n_features=4, seed=1).fit(X, y, lambda_reg=0.05, lr=0.05, epochs=1000)
    >>> model.get_selected_features().tolist(), [round(c) for c in model.get_coefficients().tolist()]
    ([0, 2], [1, 0, -2, 0])
    """

    bias: nn.Parameter | None
    _nothing: ClassVar[float] = 0.0

    def __init__(
        self,
        n_features: int,
        fit_intercept: bool = True,
        beta: float = 2 / 3,
        gamma: float = -0.1,
        zeta: float = 1.1,
        init_keep_prob: float | ArrayLike = 0.5,
        device: str | torch.device = "cpu",
        seed: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        noise = noise_of(seed=seed, generator=generator)
        super().__init__(
            n_features, signed, beta=beta, gamma=gamma, zeta=zeta, use_gates=True, noise=noise, device=device
        )
        self.fit_intercept = flag(fit_intercept, name="fit_intercept")
        self.seed = seed
        zeros = torch.zeros(self.n_features, dtype=torch.float32, device=self._start_on)
        self.weight = nn.Parameter(zeros)
        self.bias = nn.Parameter(zeros.new_zeros(1)) if self.fit_intercept else None
        self.log_alpha = self._starting_gates(init_keep_prob, _JITTER_SD)

    @property
    def weight_parameter(self) -> nn.Parameter:
        """`weight`."""
        return self.weight

    def fit(
        self,
        X_sparse: Any,
        y: ArrayLike | Tensor,
        lambda_reg: float = 0.01,
        lr: float = 0.01,
        epochs: int = 1000,
        verbose: bool = False,
        verbose_freq: int = 100,
    ) -> Self:
        """Take `epochs` steps of Adam at `lr` towards y, and give the model itself.

        Minimises mean((y - prediction)^2) + lambda_reg E[open gates], one draw of the gates a step. The intercept is
        not stepped: it is always the one that fits the other parameters best. `X_sparse` is rows x `n_features`,
        scipy, numpy or torch, sparse or dense; `y` has one number a row. A further call goes on with the same Adam
        moments and draws. `verbose_freq`, `verbose`, `history` and errors as in `SparseCalibrationWeights.fit`.
        """
        schedule = Schedule.checked(
            price=("lambda_reg", lambda_reg), lr=lr, epochs=epochs, verbose=verbose, verbose_freq=verbose_freq
        )
        matrix = tensors.matrix(X_sparse, name="X_sparse", columns=self.n_features)
        rows = matrix.shape[0]
        values = arrays.vector(tensors.plain(y, name="y"), name="y", axis=Axis(length=rows, noun="rows of X_sparse"))
        share = np.full(rows, 1 / rows)
        totals = Totals(
            matrix=matrix, values=values, unit=np.ones(rows), importance=share, centred=self.bias is not None
        )
        self._fit(totals, schedule)
        return self

    def forward(self, X: Any, deterministic: bool = False) -> Tensor:
        """Give the prediction of each row of `X`, under drawn or test-time gates; differentiable in the parameters."""
        prediction = self._product(X, self.get_weights(deterministic), name="X")
        return prediction if self.bias is None else prediction + self.bias

    def predict(self, X_sparse: Any) -> Tensor:
        """Give the prediction of each row under the test-time gates, detached."""
        with torch.no_grad():
            return self.forward(X_sparse, deterministic=True)

    def get_selected_features(self, threshold: float = 0.01) -> Tensor:
        """Give the ascending int64 indices of the features whose test-time gate is above `threshold` (0 to 1)."""
        return torch.nonzero(self._selected(threshold)).flatten()

    def get_coefficients(self, threshold: float = 0.01) -> Tensor:
        """Give weight times test-time gate, of shape (`n_features`,), 0 where the gate is not above `threshold`."""
        return (self.get_weights(deterministic=True) * self._selected(threshold)).detach()

    def _selected(self, threshold: float) -> Tensor:
        return self.get_deterministic_gates() > number(threshold, name="threshold", within=FRACTION)

    def _settle(self, totals: Totals) -> None:
        """Set the intercept that fits best."""
        if self.bias is not None:
            coefficients = self.get_weights(deterministic=True).detach().double().cpu().numpy()
            with torch.no_grad():
                self.bias.fill_(float((totals.values - totals.matrix @ coefficients).mean()))
