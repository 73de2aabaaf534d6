"""What a sample of units reproduces, as a calibration problem: rows whose totals are those of the whole.

the columns           their totals, or the targets that were given; held-out ones are in no fit
units                 the number of units represented: the sum of the weights
squares               of the columns in the fit, with `moments` 2
coverage              smooth functions of the units' ranks, and the classes of their design weights (see `coverage`)
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from l0core.arrays import FloatArray
from l0core.calibration.problem import CalibrationProblem
from l0core.errors import InvalidHyperparameter
from l0core.sampling.coverage import coverage, functions_for, weight_classes
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem

_LAST = 1e-6  # of the weight of a column's total
_VARIANCE = 10.0  # 3 to 30 do about as well on Minnesota
PRICE_OF_UNEVENNESS = _LAST  # of one over the effective sample size, in the same loss


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows over the units, what they are called, and the totals they shall have."""

    matrix: sp.csr_array
    names: tuple[str, ...]
    targets: FloatArray


def as_calibration(
    problem: SamplingProblem, options: SamplingHyperparameters, rng: np.random.Generator
) -> CalibrationProblem:
    """Give the calibration whose selection is the sample; its first targets are the columns, in their order."""
    added = list(_added(problem, options, rng))
    further = sum(len(rows.names) for rows in added)
    return CalibrationProblem(
        matrix=sp.csr_array(sp.vstack([problem.features.T, *(rows.matrix for rows in added)], format="csr")),
        targets=np.concatenate([problem.targets, *(rows.targets for rows in added)]),
        design_weights=problem.design_weights,
        names=(*problem.names, *(name for rows in added for name in rows.names)),
        target_weights=np.ones(problem.n_columns + further),
        holdout=np.concatenate([problem.holdout, np.zeros(further, np.bool_)]),
    )


def totals_first(
    calibration: CalibrationProblem, problem: SamplingProblem, options: SamplingHyperparameters
) -> CalibrationProblem:
    """Give the same with coverage counting next to nothing: where not all can be met, the totals of columns are.

    Beside `PRICE_OF_UNEVENNESS` coverage then counts as ten units of variance: what is not told by the columns is
    represented by many even weights, what is told smoothly by coverage, and neither is driven to its end.
    """
    squares = int((~problem.holdout).sum()) if options.moments == 2 else 0
    weights = calibration.target_weights.copy()
    covering = weights[problem.n_columns + 1 + squares :]
    covering[:] = _LAST * _VARIANCE / max(1, covering.size)
    return replace(calibration, target_weights=weights)


def _added(problem: SamplingProblem, options: SamplingHyperparameters, rng: np.random.Generator) -> Iterator[_Rows]:
    design, fitted = problem.design_weights, np.flatnonzero(~problem.holdout)
    yield _rows_of(sp.csr_array(np.ones((1, problem.n_units))), ("units",), design)
    if options.moments == 2:
        squares = _squares(problem)[fitted]
        yield _rows_of(squares, tuple(f"{problem.names[i]}, squared" for i in fitted), design)
    functions = options.coverage
    if functions is None:
        functions = functions_for(options.count, problem.n_units)
    if functions:
        rows = coverage(sp.csc_array(problem.features[:, fitted]), design, functions, rng)
        yield _rows_of(sp.csr_array(rows), tuple(f"coverage {i}" for i in range(rows.shape[0])), design)
        classes = weight_classes(design)
        yield _rows_of(sp.csr_array(classes), tuple(f"weight class {i}" for i in range(classes.shape[0])), design)


def _squares(problem: SamplingProblem) -> sp.csr_array:
    """Give the squares of the columns as rows; raises where they or their totals are beyond float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sp.csr_array(problem.features.T.tocsr() ** 2)
        totals = squares @ problem.design_weights
    bad = np.flatnonzero(~np.isfinite(totals))
    if bad.size:
        raise InvalidHyperparameter(
            f"moments is 2, and the squares of column '{problem.names[bad[0]]}' sum to infinity ({bad.size} such "
            "columns): divide it by a constant, or give moments 1",
            pointer="/hyperparameters/moments",
        )
    return squares


def _rows_of(matrix: sp.csr_array, names: tuple[str, ...], design: FloatArray) -> _Rows:
    return _Rows(matrix=matrix, names=names, targets=np.asarray(matrix @ design))
