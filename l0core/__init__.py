"""L0 calibration: the engine. Survey weights and networks made sparse by Hard Concrete gates.

The names below are loaded when they are first used: `import l0core` imports no torch. Read on in `hard_concrete` (the
distribution), `calibration` (survey weights), `layers` and `gates` (torch modules), `penalties` (what closes gates).
"""

from typing import TYPE_CHECKING

from l0core.lazy import lazily

if TYPE_CHECKING:
    from l0core.calibration.weights import SparseCalibrationWeights
    from l0core.distributions import HardConcrete
    from l0core.gates import FeatureGate, HybridGate, L0Gate, SampleGate
    from l0core.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear, SparseMLP, compact, prune_model
    from l0core.penalties import (
        PenaltyTracker,
        TemperatureScheduler,
        compute_l0_penalty,
        compute_l0l2_penalty,
        compute_l2_penalty,
        get_active_parameter_count,
        get_sparsity_stats,
        update_temperatures,
    )
    from l0core.sparse import SparseL0Linear

__all__ = [
    "FeatureGate",
    "HardConcrete",
    "HybridGate",
    "L0Conv2d",
    "L0DepthwiseConv2d",
    "L0Gate",
    "L0Linear",
    "PenaltyTracker",
    "SampleGate",
    "SparseCalibrationWeights",
    "SparseL0Linear",
    "SparseMLP",
    "TemperatureScheduler",
    "compact",
    "compute_l0_penalty",
    "compute_l0l2_penalty",
    "compute_l2_penalty",
    "get_active_parameter_count",
    "get_sparsity_stats",
    "prune_model",
    "update_temperatures",
]

_MODULES = ("calibration", "distributions", "gates", "layers", "penalties", "sparse")
_HOMES = {
    "FeatureGate": "l0core.gates",
    "HardConcrete": "l0core.distributions",
    "HybridGate": "l0core.gates",
    "L0Conv2d": "l0core.layers",
    "L0DepthwiseConv2d": "l0core.layers",
    "L0Gate": "l0core.gates",
    "L0Linear": "l0core.layers",
    "PenaltyTracker": "l0core.penalties",
    "SampleGate": "l0core.gates",
    "SparseCalibrationWeights": "l0core.calibration.weights",
    "SparseL0Linear": "l0core.sparse",
    "SparseMLP": "l0core.layers",
    "TemperatureScheduler": "l0core.penalties",
    "compact": "l0core.layers",
    "compute_l0_penalty": "l0core.penalties",
    "compute_l0l2_penalty": "l0core.penalties",
    "compute_l2_penalty": "l0core.penalties",
    "get_active_parameter_count": "l0core.penalties",
    "get_sparsity_stats": "l0core.penalties",
    "prune_model": "l0core.layers",
    "update_temperatures": "l0core.penalties",
}

__getattr__, __dir__ = lazily(__name__, _HOMES, modules=_MODULES)
