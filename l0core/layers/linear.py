"""`L0Linear`: a fully connected layer with gated weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0core.layers.base import GatedLayer, filled
from l0core.scalars import flag, whole


class L0Linear(GatedLayer):
    """x -> (W * gates) x + b, inputs (..., `in_features`), outputs (..., `out_features`).

    One gate a weight; with `structured=True` one an output feature, its bias included, so that whole features close
    and `compact` can remove them. `init_sparsity` is 1 - sigmoid(log_alpha) at the start.

    Raises InvalidHyperparameter naming the argument that is out of range.

    >>> layer = L0Linear(4, 2, init_sparsity=0.1, generator=torch.Generator().manual_seed(1))
    >>> layer(torch.ones(3, 4)).shape, layer.get_sparsity()
    (torch.Size([3, 2]), 0.0)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        use_l2: bool = False,
        *,
        structured: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            (whole(out_features, name="out_features"), whole(in_features, name="in_features")),
            bias=flag(bias, name="bias"),
            structured=flag(structured, name="structured"),
            temperature=temperature,
            init_sparsity=init_sparsity,
            use_l2=flag(use_l2, name="use_l2"),
            generator=generator,
        )
        self.in_features, self.out_features = int(in_features), int(out_features)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name
        """Apply the gated layer."""
        return functional.linear(input, *self.gated())

    def plain(self, weight: Tensor, bias: Tensor | None) -> nn.Linear:
        """Give an `nn.Linear` with these weights."""
        return filled(nn.Linear, weight.shape[1], weight.shape[0], weight=weight, bias=bias)
