"""The strata of the stratified comparison: as given, or ten classes along the first principal component."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.sampling.problem import SamplingProblem

_CLASSES = 10
_POWERS = 50  # steps towards the first component: close enough for classes


def strata_of(problem: SamplingProblem) -> NDArray[np.int64]:
    """Give each unit's stratum.

    >>> problem = SamplingProblem.build(np.arange(20.0)[:, None])
    >>> np.bincount(strata_of(problem)).tolist()
    [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    """
    if problem.strata is not None:
        return problem.strata
    fitted = sp.csr_array(problem.features[:, np.flatnonzero(~problem.holdout)])
    return _classes(first_component(fitted))


def first_component(columns: sp.csr_array) -> FloatArray:
    """Give where each unit stands along the first principal component of the standardised columns; its sign is free."""
    mean = np.asarray(columns.mean(axis=0))
    variance = np.asarray((columns**2).mean(axis=0)) - mean**2
    scale = np.where(variance > 1e-12 * (mean**2 + variance), 1 / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)
    direction = np.linspace(1.0, 2.0, scale.size) * scale
    score = _scores(columns, mean, direction)
    for _ in range(_POWERS):
        direction = (columns.T @ score - mean * score.sum()) * scale**2
        size = float(np.linalg.norm(direction))
        if size == 0:
            break
        score = _scores(columns, mean, direction / size)
    return score


def allocated(sizes: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    """Give `count` shared out in proportion to `sizes`, none above its size: the largest remainders are rounded up.

    >>> allocated(np.array([5, 3, 2]), 4).tolist()
    [2, 1, 1]
    """
    exact = sizes / sizes.sum() * count
    shares = np.asarray(np.floor(exact), dtype=np.int64)
    missing = count - int(shares.sum())
    shares[np.argsort(-(exact - shares), kind="stable")[:missing]] += 1
    return shares


def _scores(columns: sp.csr_array, mean: FloatArray, direction: FloatArray) -> FloatArray:
    return np.asarray(columns @ direction - mean @ direction)


def _classes(score: FloatArray) -> NDArray[np.int64]:
    """Give classes of about as many units each; units at one place are in one class."""
    edges = np.unique(np.quantile(score, np.arange(1, _CLASSES) / _CLASSES))
    return np.asarray(np.digitize(score, edges), dtype=np.int64)
