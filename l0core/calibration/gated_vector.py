"""A vector of gated weights that is fitted to totals: what survey weights and sparse regression share."""

import copy
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from l0core import hard_concrete as hc
from l0core import tensors
from l0core.arrays import Axis, FloatArray
from l0core.calibration.descent import Descent, DrawnGates, Gates, OpenGates, WeightForm
from l0core.calibration.fitting import Schedule, Totals, descend
from l0core.calibration.kernels import matrix_on
from l0core.calibration.kernels.torch_csr import product
from l0core.errors import Diverged
from l0core.gated import Gated, GatedCount
from l0core.history import History
from l0core.noise import Noise
from l0core.scalars import POSITIVE, Range, flag, number, whole


class GatedVector(Gated):
    """Weights, one a unit, each behind a gate of its own.

    `log_alpha` holds the gates' locations, `beta`, `gamma` and `zeta` their temperature and stretch; `use_gates=False`
    leaves all gates open. `history` is what the fits recorded (see `descend`).
    """

    log_alpha: nn.Parameter
    _nothing: ClassVar[float]
    """The parameter of a weight of 0."""

    def __init__(
        self,
        n_features: int,
        form: WeightForm,
        *,
        beta: float,
        gamma: float,
        zeta: float,
        use_gates: bool,
        noise: Noise,
        device: str | torch.device,
    ) -> None:
        super().__init__()
        self.n_features = whole(n_features, name="n_features")
        self.beta = number(beta, name="beta", within=POSITIVE)
        self.gamma = number(gamma, name="gamma", within=Range(below=0))
        self.zeta = number(zeta, name="zeta", within=Range(above=1))
        self.use_gates = flag(use_gates, name="use_gates")
        self.noise, self._form = noise, form
        self.history = History()
        self._start_on = tensors.device(device)
        self._descent: Descent | None = None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.log_alpha.device

    @property
    @abstractmethod
    def weight_parameter(self) -> nn.Parameter:
        """The parameter the weights are made of, of shape (`n_features`,)."""

    @property
    def shape(self) -> hc.GateShape:
        """Temperature and stretch as they are now."""
        return hc.GateShape(beta=self.beta, gamma=self.gamma, zeta=self.zeta)

    def get_deterministic_gates(self) -> Tensor:
        """Give the test-time gates, of shape (`n_features`,); differentiable."""
        return hc.deterministic_gate(self.log_alpha, self.shape) if self.use_gates else torch.ones_like(self.log_alpha)

    def get_weights(self, deterministic: bool = False) -> Tensor:
        """Give weights times gates, of shape (`n_features`,): one draw of the gates, or the test-time ones.

        Differentiable in `log_alpha` and in the weights' parameter.
        """
        weights, _ = self._form(self.weight_parameter)
        return weights * (self.get_deterministic_gates() if deterministic else self._drawn_gates())

    def get_l0_penalty(self) -> Tensor:
        """Give the expected number of open gates; without gates all of them."""
        if not self.use_gates:
            return self.log_alpha.new_tensor(float(self.n_features))
        return hc.prob_active(self.log_alpha, self.shape).sum()

    def get_l2_penalty(self) -> Tensor:
        """Give the sum of squared weights, gates aside."""
        weights, _ = self._form(self.weight_parameter)
        return weights.square().sum()

    def get_sparsity(self) -> float:
        """Give the share of gates that are 0 at test time."""
        return self.count().sparsity

    def set_temperature(self, temperature: float) -> None:
        """Set `beta` (> 0)."""
        self.beta = number(temperature, name="temperature", within=POSITIVE)

    def expected_l0(self) -> Tensor:
        """Give `get_l0_penalty`."""
        return self.get_l0_penalty()

    def sum_of_squares(self) -> Tensor:
        """Give `get_l2_penalty`."""
        return self.get_l2_penalty()

    def count(self) -> GatedCount:
        """Count the gates."""
        return GatedCount(active=int((self.get_deterministic_gates() > 0).sum()), total=self.n_features)

    def close_below(self, threshold: float) -> None:
        """Close the gates whose P(z > 0) is below `threshold`, and make their weights 0; without gates none."""
        if not self.use_gates:
            return
        with torch.no_grad():
            closed = hc.prob_active(self.log_alpha, self.shape) < threshold
            self.log_alpha[closed] = self.shape.reach[0]
            self.weight_parameter[closed] = self._nothing

    def extra_repr(self) -> str:
        """Give what `print(model)` shows."""
        return f"n_features={self.n_features}, beta={self.beta:g}, gamma={self.gamma:g}, zeta={self.zeta:g}"

    def _drawn_gates(self) -> Tensor:
        if not self.use_gates:
            return torch.ones_like(self.log_alpha)
        return hc.sample(self.log_alpha, self.noise.logistic(self.log_alpha), self.shape)

    def _starting_gates(self, init_keep_prob: ArrayLike, jitter_sd: float) -> nn.Parameter:
        """Give the locations to start at; `init_keep_prob` is one number or one a unit, inside (0, 1)."""
        keep = self._one_or_all(
            init_keep_prob, "init_keep_prob", lambda p: (p > 0) & (p < 1), "must be above 0 and below 1"
        )
        return self._jittered(np.log(keep) - np.log1p(-keep), jitter_sd)

    def _jittered(self, start: FloatArray, jitter_sd: float) -> nn.Parameter:
        noise = self.noise.normal((self.n_features,))
        values = torch.as_tensor(start, dtype=torch.float32) + jitter_sd * noise
        return nn.Parameter(values.to(self._start_on, torch.float32))

    def _one_or_all(self, values: ArrayLike, name: str, rule: tensors.Rule, need: str) -> FloatArray:
        axis = Axis(length=self.n_features, noun="units")
        return tensors.one_or_all(values, name=name, axis=axis, rule=rule, need=need)

    def _product(self, matrix: Any, weights: Tensor, *, name: str) -> Tensor:
        """Give matrix x weights, differentiable in the weights; the matrix is read anew at every call."""
        checked = tensors.matrix(matrix, name=name, columns=self.n_features)
        single = weights.to(torch.float32)  # also after `model.double()`
        return product(matrix_on(self.device, checked), single).to(weights.dtype)

    def _fit(self, totals: Totals, schedule: Schedule, *, lambda_l2: float = 0.0, jitter_sd: float = 0.0) -> None:
        """Take the schedule's steps towards `totals` from where the parameters stand, or at first from near there."""
        landscape = totals.landscape(self.shape, self._form, lambda_l2=lambda_l2, device=self.device)
        with self._continued(totals, jitter_sd) as (state, history):
            descend(state, self._gates(), landscape, schedule, totals, history)

    @abstractmethod
    def _settle(self, totals: Totals) -> None:
        """Set what is not stepped but follows from the parameters."""

    def _gates(self) -> Gates:
        return DrawnGates(shape=self.shape, seed=self.noise.stream()) if self.use_gates else OpenGates()

    @contextmanager
    def _continued(self, totals: Totals, jitter_sd: float) -> Iterator[tuple[Descent, History]]:
        """Give the descent and history so far, to be gone on with; the model becomes what they are at the end.

        Whatever ends the block, an interrupt too, keeps the steps taken; a fit that took none or diverged is undone.
        """
        state, history = self._resumed(jitter_sd), copy.deepcopy(self.history)
        before = state.steps
        try:
            yield state, history
        except BaseException as error:
            if state.steps > before and self._is_sound(state) and not isinstance(error, Diverged):
                self._keep(state, history, totals)
            raise
        self._keep(state, history, totals)

    def _resumed(self, jitter_sd: float) -> Descent:
        theta = torch.stack([self.weight_parameter.detach(), self.log_alpha.detach()]).to(torch.float32)
        if self._descent is not None:
            return self._descent.at(theta)
        if jitter_sd > 0:
            theta[0].add_(jitter_sd * self.noise.normal((self.n_features,)).to(theta))
        return Descent.start(theta)

    def _is_sound(self, state: Descent) -> bool:
        weights, _ = self._form(state.theta[0])
        return state.is_sound() and bool(torch.isfinite(weights).all())

    def _keep(self, state: Descent, history: History, totals: Totals) -> None:
        self._descent, self.history = state, history
        with torch.no_grad():
            self.weight_parameter.copy_(state.theta[0])
            if self.use_gates:
                self.log_alpha.copy_(state.theta[1])
        self._settle(totals)
