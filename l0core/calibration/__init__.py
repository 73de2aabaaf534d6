"""Survey calibration: weights w >= 0, most of them exactly 0, with M w close to the targets.

Three ways in: `weights` (`SparseCalibrationWeights`, a torch module that is fitted and goes on), `run` (select, refit,
evaluate: the whole of a job in one call, on a `problem` with `options`) and `path` (that for several prices of a unit
at once). Two ways to judge it: `baseline` (other choices of as many units) and `rotated_holdout` (each family of
targets left out once). Names are loaded at their first use.
"""

from typing import TYPE_CHECKING

from l0core.lazy import lazily

if TYPE_CHECKING:
    from l0core.calibration.baselines import baseline
    from l0core.calibration.declaration import KIND
    from l0core.calibration.paths import path
    from l0core.calibration.rotation import rotated_holdout
    from l0core.calibration.weights import SparseCalibrationWeights

__all__ = ["KIND", "SparseCalibrationWeights", "baseline", "path", "rotated_holdout"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "KIND": "l0core.calibration.declaration",
        "SparseCalibrationWeights": "l0core.calibration.weights",
        "baseline": "l0core.calibration.baselines",
        "path": "l0core.calibration.paths",
        "rotated_holdout": "l0core.calibration.rotation",
    },
)
