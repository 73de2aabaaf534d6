"""A calibration problem as a client has it."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from numpy.typing import ArrayLike

Array = ArrayLike | str | Path


@dataclass(frozen=True, eq=False)
class Problem:
    """Q targets over N units. Any array may also be the path of a file, or the id that `upload` gave.

    `matrix` is Q x N, a scipy sparse matrix or a numpy array; `targets` are Q totals. `initial_weights` are N design
    weights (1 by default); `target_groups` Q integers; `target_weights`, `target_scales`, `target_tolerances` Q
    numbers > 0; `holdout` Q booleans: true leaves a target out of the fit. `weight_bounds` holds `lower`, `upper` or
    both, each one number for all units or one for each; `protected_units` are indices of units that are always kept.
    """

    matrix: object
    targets: Array
    _: KW_ONLY
    initial_weights: Array | None = None
    target_names: Sequence[str] | None = None
    target_groups: Array | Sequence[int] | None = None
    target_weights: Array | None = None
    target_scales: Array | None = None
    target_tolerances: Array | None = None
    holdout: Array | Sequence[bool] | None = None
    weight_bounds: Mapping[str, Array] | None = None
    protected_units: Array | None = None
    tags: Mapping[str, str] | None = None
