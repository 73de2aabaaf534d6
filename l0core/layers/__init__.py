"""Gated layers for torch networks, pruning, and compaction: a smaller plain network with the same outputs.

Read `base` for what all layers share, `compaction` for how closed units are removed.
"""

from l0core.layers.base import GatedLayer
from l0core.layers.compaction import compact
from l0core.layers.conv import L0Conv2d, L0DepthwiseConv2d
from l0core.layers.linear import L0Linear
from l0core.layers.mlp import SparseMLP
from l0core.layers.prune import prune_model

__all__ = ["GatedLayer", "L0Conv2d", "L0DepthwiseConv2d", "L0Linear", "SparseMLP", "compact", "prune_model"]
