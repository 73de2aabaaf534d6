"""`prune_model`: close, for good, the gates that are hardly ever open."""

from torch import nn

from l0core.gated import gated_modules
from l0core.scalars import PROBABILITY, number


def prune_model(model: nn.Module, threshold: float = 0.05) -> nn.Module:
    """Close every gate of `model` whose P(z > 0) is below `threshold`, zero the weights behind it, and give `model`.

    Works in place, on layers, gates and calibrations alike; a closed channel loses its bias with its weights. Gates
    with P(z > 0) <= 1/2 are closed at test time anyway, so that a threshold up to 1/2 changes no output in `eval()`.
    Shapes stay as they are: `compact` removes what is closed.

    Raises InvalidHyperparameter for a threshold outside (0, 1).

    >>> from l0core import L0Linear
    >>> net = prune_model(nn.Sequential(L0Linear(4, 3, init_sparsity=0.99)), threshold=0.5)
    >>> net[0].weight.abs().sum().item(), net[0].get_sparsity()
    (0.0, 1.0)
    """
    threshold = number(threshold, name="threshold", within=PROBABILITY)
    for _, module in gated_modules(model):
        module.close_below(threshold)
    return model
