"""`HardConcrete`: gates as a torch module, drawn in training, deterministic at test time."""

import sys
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from l0core import hard_concrete as hc
from l0core.errors import ShapeMismatch
from l0core.gated import Gated, GatedCount
from l0core.noise import Noise
from l0core.scalars import POSITIVE, PROBABILITY, Range, number, whole

_JITTER_SD = 0.01  # breaks ties between gates that start alike
_STRETCH = Range(above=sys.float_info.epsilon)  # below it zeta = 1 + stretch is 1, and no gate opens fully
_PEER_S_NAME = "qz_logits"  # the locations' name in files written by l0-python


class HardConcrete(Gated):
    """Gates z in [0, 1] (Louizos, Welling, Kingma 2018, arXiv 1712.01312, eq. 10-11).

    `input_dim` gates, or `input_dim` x `output_dim` of them. The stretch is gamma = -`stretch`, zeta = 1 + `stretch`;
    `init_mean` is sigmoid(log_alpha) at the start (see `hard_concrete`: not P(z > 0)). A call in `train()` draws, in
    `eval()` it gives the deterministic gates. The one parameter is `log_alpha`.

    Raises InvalidHyperparameter for sizes below 1, a temperature or stretch not above 0, an `init_mean` outside (0, 1).

    >>> gates = HardConcrete(3, init_mean=0.9, generator=torch.Generator().manual_seed(1)).eval()
    >>> gates().tolist(), gates.get_num_active(), gates.get_sparsity()
    ([1.0, 1.0, 1.0], 3, 0.0)
    """

    temperature: float

    def __init__(
        self,
        input_dim: int,
        output_dim: int | None = None,
        temperature: float = 0.5,
        stretch: float = 0.1,
        init_mean: float = 0.5,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        across = () if output_dim is None else (whole(output_dim, name="output_dim"),)
        self.gate_size = (whole(input_dim, name="input_dim"), *across)
        self.stretch = number(stretch, name="stretch", within=_STRETCH)
        self.init_mean = number(init_mean, name="init_mean", within=PROBABILITY)
        self.gamma, self.zeta = -self.stretch, 1 + self.stretch
        self.set_temperature(temperature)
        self.noise = Noise(generator)
        self.log_alpha = nn.Parameter(torch.empty(self.gate_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Put every gate at `init_mean`, with a little noise so that no two are alike."""
        start = hc.starting_log_alpha(self.init_mean)
        with torch.no_grad():
            self.log_alpha.copy_(start + _JITTER_SD * self.noise.normal(self.gate_size))

    @property
    def shape(self) -> hc.GateShape:
        """Temperature and stretch as they are now."""
        return hc.GateShape(beta=self.temperature, gamma=self.gamma, zeta=self.zeta)

    def forward(self, input_shape: tuple[int, ...] | None = None) -> Tensor:
        """Give the gates, of shape `gate_size`; with `input_shape`, shaped to multiply the first axes of that input.

        Raises ShapeMismatch where those axes are not as long as the gates.
        """
        gates = self.drawn() if self.training else self.deterministic()
        return gates if input_shape is None else gates.view(self._broadcast_shape(input_shape))

    def drawn(self) -> Tensor:
        """Draw gates, whatever the mode; differentiable."""
        return hc.sample(self.log_alpha, self.noise.logistic(self.log_alpha), self.shape)

    def deterministic(self) -> Tensor:
        """Give the test-time gates, whatever the mode; differentiable."""
        return hc.deterministic_gate(self.log_alpha, self.shape)

    def get_active_prob(self) -> Tensor:
        """Give P(z > 0) of each gate, of shape `gate_size`."""
        return hc.prob_active(self.log_alpha, self.shape)

    def get_penalty(self) -> Tensor:
        """Give the expected number of open gates, the sum of `get_active_prob`."""
        return self.get_active_prob().sum()

    def get_num_active(self) -> int:
        """Give how many gates are above 0 at test time."""
        return int((self.deterministic() > 0).sum())

    def get_sparsity(self) -> float:
        """Give the share of gates that are 0 at test time."""
        return self.count().sparsity

    def set_temperature(self, temperature: float) -> None:
        """Set the temperature (> 0)."""
        self.temperature = number(temperature, name="temperature", within=POSITIVE)

    def expected_l0(self) -> Tensor:
        """Give `get_penalty`."""
        return self.get_penalty()

    def sum_of_squares(self) -> Tensor:
        """Give 0: gates are not weights."""
        return self.log_alpha.new_zeros(())

    def count(self) -> GatedCount:
        """Count the gates themselves."""
        return GatedCount(active=self.get_num_active(), total=self.log_alpha.numel())

    def below(self, threshold: float) -> Tensor:
        """Say of each gate whether its P(z > 0) is below `threshold`."""
        return self.get_active_prob().detach() < threshold

    def close_below(self, threshold: float) -> None:
        """Close the gates whose P(z > 0) is below `threshold`."""
        with torch.no_grad():
            self.log_alpha[self.below(threshold)] = self.shape.reach[0]

    def extra_repr(self) -> str:
        """Give what `print(model)` shows."""
        return f"{self.gate_size}, temperature={self.temperature:g}, stretch={self.stretch:g}"

    def _broadcast_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        axes = len(self.gate_size)
        if not isinstance(input_shape, tuple | list) or tuple(input_shape[:axes]) != self.gate_size:
            raise ShapeMismatch(
                f"input_shape is {input_shape!r}; its first {axes} axes must be {self.gate_size}, one entry a gate",
                pointer="/input_shape",
            )
        return self.gate_size + (1,) * (len(input_shape) - axes)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Read files of l0-python too, which hold `log_alpha` under another name."""
        held = cast("dict[str, Any]", state_dict)
        if prefix + _PEER_S_NAME in held and prefix + "log_alpha" not in held:
            held[prefix + "log_alpha"] = held.pop(prefix + _PEER_S_NAME)
        super()._load_from_state_dict(held, prefix, *args)
