"""What every gated layer shares: a weight, perhaps a bias, and gates over single weights or over whole channels."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from l0core.distributions import HardConcrete
from l0core.gated import Gated, GatedCount
from l0core.scalars import POSITIVE, PROBABILITY, number

STRUCTURED_GATES, UNSTRUCTURED_GATES = "channel_gates", "weight_gates"

Plain = TypeVar("Plain", nn.Linear, nn.Conv2d)


def filled(kind: type[Plain], *sizes: Any, weight: Tensor, bias: Tensor | None, **settings: Any) -> Plain:
    """Give torch's layer `kind(*sizes, **settings)` with these weights, without drawing any."""
    skip_init: Callable[..., Plain] = nn.utils.skip_init
    layer = skip_init(kind, *sizes, **settings)
    layer.weight = nn.Parameter(weight)
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias))
    return layer


class GatedLayer(Gated):
    """A layer whose weights stand behind gates.

    `weight` has the output channels first. Unstructured: `weight_gates` holds one gate a weight, of shape (outputs,
    weights an output); the bias has none. Structured: `channel_gates` holds one gate an output channel, which
    multiplies the channel's weights and its bias, so that a closed channel gives exactly 0.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        *,
        bias: bool,
        structured: bool,
        temperature: float,
        init_sparsity: float,
        use_l2: bool,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        number(temperature, name="temperature", within=POSITIVE)
        number(init_sparsity, name="init_sparsity", within=PROBABILITY)
        self.structured, self.use_l2 = structured, use_l2
        outputs, fan_in = weight_shape[0], torch.Size(weight_shape[1:]).numel()
        gates = HardConcrete(
            outputs,
            None if structured else fan_in,
            temperature=temperature,
            init_mean=1 - init_sparsity,
            generator=generator,
        )
        self.add_module(STRUCTURED_GATES if structured else UNSTRUCTURED_GATES, gates)
        self.weight = nn.Parameter(torch.empty(weight_shape))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self._reset_weights()

    @abstractmethod
    def plain(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        """Give torch's own layer of this kind with these weights and all its other settings.

        `compact` puts it in this layer's place: a subclass with another `forward` says here what it is.
        """

    @property
    def gates(self) -> HardConcrete:
        """The gates, whichever they are."""
        held = self.get_submodule(STRUCTURED_GATES if self.structured else UNSTRUCTURED_GATES)
        assert isinstance(held, HardConcrete)  # noqa: S101  # put there by __init__; says so to the type checker
        return held

    def reset_parameters(self) -> None:
        """Start again: weights as He et al. 2015 (arXiv 1502.01852, eq. 10), biases 0, gates at their start."""
        self._reset_weights()
        self.gates.reset_parameters()

    def gated(self) -> tuple[Tensor, Tensor | None]:
        """Give weight and bias times the gates: one draw in `train()`, the deterministic gates in `eval()`."""
        return self.behind(self.gates())

    def at_test_time(self) -> tuple[Tensor, Tensor | None]:
        """Give weight and bias times the deterministic gates, whatever the mode, detached."""
        weight, bias = self.behind(self.gates.deterministic())
        return weight.detach(), None if bias is None else bias.detach().clone()

    def get_l0_penalty(self) -> Tensor:
        """Give the expected number of open gates: of weights, or of channels where structured."""
        return self.gates.get_penalty()

    def get_l2_penalty(self) -> Tensor:
        """Give the sum of squared weights and biases, or 0 where the layer was made with `use_l2=False`."""
        return self.sum_of_squares() if self.use_l2 else self.weight.new_zeros(())

    def get_sparsity(self) -> float:
        """Give the share of gated parameters that are closed at test time."""
        return self.count().sparsity

    def set_temperature(self, temperature: float) -> None:
        """Set the temperature of its gates (> 0)."""
        self.gates.set_temperature(temperature)

    def expected_l0(self) -> Tensor:
        """Give `get_l0_penalty`."""
        return self.get_l0_penalty()

    def sum_of_squares(self) -> Tensor:
        """Give the sum of squared weights and biases."""
        return self.weight.square().sum() + (0 if self.bias is None else self.bias.square().sum())

    def count(self) -> GatedCount:
        """Count weights behind open gates; structured ones bring their channel's bias."""
        gates = self.gates.count()
        behind = self._parameters_behind_a_gate()
        return GatedCount(active=gates.active * behind, total=gates.total * behind)

    def close_below(self, threshold: float) -> None:
        """Close gates whose P(z > 0) is below `threshold`, and zero the weights (and biases) behind them."""
        keep = (~self.gates.below(threshold)).to(self.weight.dtype)
        weight, bias = self.behind(keep)
        with torch.no_grad():
            self.weight.copy_(weight)
            if self.bias is not None and bias is not None:
                self.bias.copy_(bias)
        self.gates.close_below(threshold)

    def extra_repr(self) -> str:
        """Give what `print(model)` shows."""
        shape = "x".join(map(str, self.weight.shape))
        return f"weight {shape}, bias={self.bias is not None}, structured={self.structured}"

    def _reset_weights(self) -> None:
        nn.init.kaiming_normal_(self.weight, generator=self.gates.noise.on(self.weight.device))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def behind(self, gates: Tensor) -> tuple[Tensor, Tensor | None]:
        """Give weight and bias times `gates`, one for each of its own; the bias stays where gates are on weights."""
        if not self.structured:
            return self.weight * gates.view_as(self.weight), self.bias
        bias = None if self.bias is None else self.bias * gates
        return self.weight * gates.view(-1, *(1,) * (self.weight.ndim - 1)), bias

    def _parameters_behind_a_gate(self) -> int:
        if not self.structured:
            return 1
        return self.weight[0].numel() + (self.bias is not None)
