"""What a sample of units reproduces, as a calibration problem: rows whose totals are those of the whole.

the columns           their totals, or the targets that were given; held-out ones are in no fit
units                 the number of units represented: the sum of the weights
squares               of the columns in the fit, with `moments` 2
coverage              smooth functions of the units' ranks, and the classes of their design weights (see `coverage`)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from l0core.arrays import FloatArray
from l0core.calibration.problem import CalibrationProblem
from l0core.sampling.coverage import coverage, functions_for, weight_classes
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem


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


def _added(problem: SamplingProblem, options: SamplingHyperparameters, rng: np.random.Generator) -> Iterator[_Rows]:
    design, fitted = problem.design_weights, np.flatnonzero(~problem.holdout)
    yield _rows_of(sp.csr_array(np.ones((1, problem.n_units))), ("units",), design)
    if options.moments == 2:
        squares = sp.csr_array(problem.features.T.tocsr()[fitted] ** 2)
        yield _rows_of(squares, tuple(f"{problem.names[i]}, squared" for i in fitted), design)
    functions = options.coverage
    if functions is None:
        functions = functions_for(options.count, problem.n_units)
    if functions:
        rows = coverage(sp.csc_array(problem.features[:, fitted]), design, functions, rng)
        yield _rows_of(sp.csr_array(rows), tuple(f"coverage {i}" for i in range(rows.shape[0])), design)
        classes = weight_classes(design)
        yield _rows_of(sp.csr_array(classes), tuple(f"weight class {i}" for i in range(classes.shape[0])), design)


def _rows_of(matrix: sp.csr_array, names: tuple[str, ...], design: FloatArray) -> _Rows:
    return _Rows(matrix=matrix, names=names, targets=np.asarray(matrix @ design))
