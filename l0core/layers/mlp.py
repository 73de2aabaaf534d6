"""`SparseMLP`: the three-layer network of the paper's first experiment."""

import torch
from torch import Tensor, nn

from l0core.layers.linear import L0Linear
from l0core.penalties import SparsityStats, compute_l0_penalty, compute_l2_penalty, get_sparsity_stats, sparsity
from l0core.scalars import whole


class SparseMLP(nn.Module):
    """Three `L0Linear` layers with ReLU between them, inputs (batch, ...) flattened to `input_dim` features.

    `structured=True` gates whole hidden features, never the outputs.

    Raises InvalidHyperparameter naming the argument that is out of range.

    >>> net = SparseMLP(8, 6, 2, generator=torch.Generator().manual_seed(1)).eval()
    >>> net(torch.ones(5, 8)).shape, round(net.get_l0_penalty().item())  # P(z > 0) is 0.77: 74 of 96 weights
    (torch.Size([5, 2]), 74)
    """

    def __init__(
        self,
        input_dim: int = 784,
        hidden_dim: int = 256,
        output_dim: int = 10,
        init_sparsity: float = 0.5,
        temperature: float = 0.5,
        use_l2: bool = False,
        *,
        structured: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        input_dim = whole(input_dim, name="input_dim")
        hidden_dim = whole(hidden_dim, name="hidden_dim")
        output_dim = whole(output_dim, name="output_dim")

        def layer(inputs: int, outputs: int, *, gate_features: bool) -> L0Linear:
            start = (temperature, init_sparsity, use_l2)
            return L0Linear(inputs, outputs, True, *start, structured=gate_features, generator=generator)

        self.use_l2 = use_l2
        self.fc1 = layer(input_dim, hidden_dim, gate_features=structured)
        self.fc2 = layer(hidden_dim, hidden_dim, gate_features=structured)
        self.fc3 = layer(hidden_dim, output_dim, gate_features=False)

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, `output_dim`) scores."""
        hidden = torch.relu(self.fc1(x.flatten(1)))
        scores: Tensor = self.fc3(torch.relu(self.fc2(hidden)))
        return scores

    def get_l0_penalty(self) -> Tensor:
        """Give the expected number of open gates of all layers."""
        return compute_l0_penalty(self)

    def get_l2_penalty(self) -> Tensor:
        """Give the sum of squared weights and biases, or 0 where the network was made with `use_l2=False`."""
        return compute_l2_penalty(self) if self.use_l2 else self.fc1.weight.new_zeros(())

    def get_sparsity(self) -> float:
        """Give the share of gated parameters that are closed at test time."""
        return sparsity(self)

    def get_sparsity_stats(self) -> dict[str, SparsityStats]:
        """Give `penalties.get_sparsity_stats` of this network: one entry a layer."""
        return get_sparsity_stats(self)

    def get_l0_loss(self) -> Tensor:
        """Give `get_l0_penalty`, under l0-python's name."""
        return self.get_l0_penalty()

    def get_l2_loss(self) -> Tensor:
        """Give `get_l2_penalty`, under l0-python's name."""
        return self.get_l2_penalty()
