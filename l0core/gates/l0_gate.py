"""`L0Gate`: one gate for each entry of an axis."""

import torch
from torch import Tensor

from l0core.distributions import HardConcrete
from l0core.errors import InvalidHyperparameter, InvalidInput, ShapeMismatch
from l0core.gated import Gated, GatedCount
from l0core.scalars import FRACTION, number, whole


class L0Gate(Gated):
    """`size` gates, to be multiplied into an axis of that length. Drawn in `train()`, deterministic in `eval()`.

    `init_mean` is sigmoid(log_alpha) at the start. Source: Louizos, Welling, Kingma 2018.

    Raises InvalidHyperparameter for a size below 1, a temperature not above 0, an `init_mean` outside (0, 1).

    >>> gate = L0Gate(3, init_mean=0.99, generator=torch.Generator().manual_seed(1)).eval()
    >>> gate.apply_gates(torch.ones(2, 3), dim=1).tolist(), gate.get_active_indices().tolist()
    ([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], [0, 1, 2])
    """

    def __init__(
        self,
        size: int,
        temperature: float = 0.5,
        init_mean: float = 0.5,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.size = whole(size, name="size")
        self.gates = HardConcrete(self.size, temperature=temperature, init_mean=init_mean, generator=generator)

    @property
    def temperature(self) -> float:
        """The gates' temperature as it is now."""
        return self.gates.temperature

    @property
    def init_mean(self) -> float:
        """sigmoid(log_alpha) at the start."""
        return self.gates.init_mean

    def forward(self, x: Tensor, dim: int = 0) -> Tensor:
        """Give `apply_gates(x, dim)`."""
        return self.apply_gates(x, dim)

    def get_gates(self) -> Tensor:
        """Give the gates, of shape (`size`,): one draw in `train()`, deterministic in `eval()`."""
        gates: Tensor = self.gates()
        return gates

    def apply_gates(self, x: Tensor, dim: int = 0) -> Tensor:
        """Multiply the gates into axis `dim` of `x`.

        Raises InvalidInput where `x` is no tensor, ShapeMismatch where that axis is not `size` long.
        """
        axis = self._axis(x, dim)
        shape = [1] * x.ndim
        shape[axis] = self.size
        return x * self.get_gates().view(shape)

    def get_penalty(self) -> Tensor:
        """Give the expected number of open gates."""
        return self.gates.get_penalty()

    def get_sparsity(self) -> float:
        """Give the share of gates that are 0 at test time."""
        return self.gates.get_sparsity()

    def get_active_indices(self, threshold: float = 0.5) -> Tensor:
        """Give the ascending int64 indices of the gates of `get_gates` that are above `threshold` (0 to 1)."""
        threshold = number(threshold, name="threshold", within=FRACTION)
        return torch.nonzero(self.get_gates() > threshold).flatten()

    def set_temperature(self, temperature: float) -> None:
        """Set the temperature (> 0)."""
        self.gates.set_temperature(temperature)

    def expected_l0(self) -> Tensor:
        """Give `get_penalty`."""
        return self.get_penalty()

    def sum_of_squares(self) -> Tensor:
        """Give 0: gates are not weights."""
        return self.gates.sum_of_squares()

    def count(self) -> GatedCount:
        """Count the gates."""
        return self.gates.count()

    def close_below(self, threshold: float) -> None:
        """Close the gates whose P(z > 0) is below `threshold`."""
        self.gates.close_below(threshold)

    def extra_repr(self) -> str:
        """Give what `print(model)` shows."""
        return f"size={self.size}"

    def _axis(self, x: Tensor, dim: int) -> int:
        if not isinstance(x, Tensor):
            raise InvalidInput(f"x is a {type(x).__name__}; it must be a torch tensor", pointer="/x")
        axis = whole(dim, name="dim", at_least=-x.ndim)
        if axis >= x.ndim:
            raise InvalidHyperparameter(f"dim is {dim}; x has {x.ndim} axes, counted from 0", pointer="/dim")
        if x.shape[axis] != self.size:
            raise ShapeMismatch(
                f"x has shape {tuple(x.shape)}; its axis {dim} must be {self.size} long, one entry a gate", pointer="/x"
            )
        return axis
