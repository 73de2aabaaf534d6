"""What is added to a loss to close gates, what counts the closed ones, and the schedule of their temperature."""

from l0core.penalties.sums import (
    SparsityStats,
    compute_l0_penalty,
    compute_l0l2_penalty,
    compute_l2_penalty,
    get_active_parameter_count,
    get_sparsity_stats,
    sparsity,
)
from l0core.penalties.temperature import TemperatureScheduler, update_temperatures
from l0core.penalties.tracker import PenaltyTracker

__all__ = [
    "PenaltyTracker",
    "SparsityStats",
    "TemperatureScheduler",
    "compute_l0_penalty",
    "compute_l0l2_penalty",
    "compute_l2_penalty",
    "get_active_parameter_count",
    "get_sparsity_stats",
    "sparsity",
    "update_temperatures",
]
