"""Coverage: smooth functions of where a unit stands among the others, so that what is chosen is spread like the whole.

Rows that a selection reproduces beside the columns' totals: 1 + cos(v'r) and 1 + sin(v'r) of a unit's ranks r in the
columns, with random v (random Fourier features of a Gaussian kernel; Rahimi and Recht, Random features for large-scale
kernel machines, NIPS 2007). A sample that has their means has about the distribution of the whole, in the columns and
in whatever depends on them smoothly: its distance is the kernel's (maximum mean discrepancy; Gretton et al. 2012).
"""

import numpy as np
import scipy.sparse as sp

from l0core.arrays import FloatArray

_WIDTH = 1.0  # of the kernel, in units of the typical distance of two units
_SHARE = 5  # one function for so many units that are chosen, when not told otherwise
_MOST = 100
_CLASSES = 10  # of design weights
_MOST_NUMBERS = 100_000_000  # units times functions: 800 MB


def functions_for(count: int, n_units: int) -> int:
    """Give how many functions are used when nobody says: an even number.

    >>> functions_for(500, 5_460), functions_for(50, 5_460), functions_for(500, 10_000_000)
    (100, 10, 10)
    """
    return 2 * (min(count // _SHARE, _MOST, _MOST_NUMBERS // n_units) // 2)


def coverage(columns: sp.csc_array, weights: FloatArray, functions: int, rng: np.random.Generator) -> FloatArray:
    """Give `functions` (rounded up to pairs) rows over the units, each from 0 to 2; none where no column varies.

    `weights` are the design weights, which the ranks count in.
    """
    ranks = centred_ranks(columns, weights)
    pairs = -(-functions // 2)
    if not ranks.shape[1] or not pairs:
        return np.zeros((0, columns.shape[0]))
    spread = _WIDTH * np.sqrt(2 * ranks.shape[1])
    angles = np.asarray(rng.normal(size=(pairs, ranks.shape[1])) / spread @ ranks.T)
    return np.concatenate([1 + np.cos(angles), 1 + np.sin(angles)])[:functions]


def centred_ranks(columns: sp.csc_array, weights: FloatArray) -> FloatArray:
    """Give each column that varies as weighted ranks of mean 0 and variance 1, ties sharing theirs.

    >>> centred_ranks(sp.csc_array([[5.0, 1.0], [9.0, 1.0]]), np.ones(2)).tolist()
    [[-1.0], [1.0]]
    """
    share = weights / weights.sum()
    ranked = (_ranks(columns[:, [i]].toarray()[:, 0], share) for i in range(columns.shape[1]))
    found = [column for column in ranked if column is not None]
    return np.stack(found, axis=1) if found else np.zeros((columns.shape[0], 0))


def _ranks(values: FloatArray, share: FloatArray) -> FloatArray | None:
    _, member = np.unique(values, return_inverse=True)
    mass = np.bincount(member, share)
    if np.count_nonzero(mass) < 2:
        return None
    rank = (np.cumsum(mass) - mass / 2)[member]
    centred = rank - share @ rank
    return np.asarray(centred / np.sqrt(share @ centred**2))


def weight_classes(weights: FloatArray) -> FloatArray:
    """Give rows that say whose design weight is at least a tenth, two tenths, ... of the weighted order; 1 or 0.

    Whoever was hard to reach weighs more, and is often of another sort in ways that no column tells.

    >>> weight_classes(np.array([1.0, 1.0, 4.0, 4.0])).tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """
    order = np.argsort(weights, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    places = np.searchsorted(below, np.arange(1, _CLASSES) / _CLASSES)
    edges = np.unique(weights[order][np.minimum(places, weights.size - 1)])
    rows = (weights >= edges[:, None]).astype(np.float64)
    return np.unique(rows[rows.min(axis=1) < 1], axis=0)
