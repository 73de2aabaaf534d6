"""The best subset of columns of a given size: each column added for what it takes off the loss, then exchanges.

    minimise  loss(y, X_S b + c)   over  S with |S| = k

Forward selection by the fall of the loss after a refit (orthogonal least squares; Chen, Billings and Luo 1989), then
exchanges of one column for another while they lower it (Miller, Subset selection in regression, 1984). Both are looked
up for all columns at once by one product with the matrix. With u the slope of the loss in the predictions, W its
curvature, B the columns so far and the intercept, C = (B'WB)^-1 and b their coefficients:

    adding j:        (x_j'u)^2 / s_j,    s_j = x_j'W x_j - x_j'W B C B'W x_j
    i for j:         (x_j'(u + b_i W p_i))^2 / (s_j + C_ii (x_j'W p_i)^2) - b_i^2 / C_ii,    p_i = B C_i / C_ii

which is exact for least squares and the second-order fall for logistic regression, where an exchange is tried by a fit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.sampling.explaining import Explained, Outcome, dense, standardised

_BLOCKS = 100  # additions at most: each adds k / 100 columns
_TRIED = 12  # exchanges, the most promising first, before the search ends
_WORTHWHILE = 1e-9  # of the loss
_NEW = 1e-9  # of a column, squared: less beyond the chosen ones is nothing new


@dataclass(frozen=True, kw_only=True)
class Search:
    """The outcome, the columns, and which of them may be chosen."""

    outcome: Outcome
    features: sp.csr_array
    squares: sp.csr_array
    open_: NDArray[np.bool_]
    count: int

    def fitted(self, chosen: NDArray[np.intp]) -> Explained:
        """Give what these columns explain."""
        return self.outcome.explained_by(dense(self.features, chosen))

    def next_addition(self, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
        """Give `chosen` with the columns that take most off the loss; the first ones left where none does."""
        worth = _Look(self, chosen).additions
        room = min(max(1, self.count // _BLOCKS), self.count - chosen.size)
        best = np.argsort(-np.where(self._left(chosen), worth, -1.0), kind="stable")[:room]
        return np.sort(np.concatenate([chosen, best]))

    def next_exchange(self, chosen: NDArray[np.intp], loss: float) -> NDArray[np.intp] | None:
        """Give `chosen` after the first exchange found that lowers `loss`; None where none of the promising does."""
        for out, in_ in self._promising(chosen):
            other = np.sort(np.append(np.delete(chosen, out), in_))
            if self.fitted(other).loss < loss * (1 - _WORTHWHILE):
                return other
        return None

    def next_removal(self, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
        """Give `chosen` without the column that is missed least."""
        return np.delete(chosen, int(np.argmin(_Look(self, chosen).rises)))

    def _promising(self, chosen: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
        look = _Look(self, chosen)
        gain = np.where(self._left(chosen)[:, None], look.exchanges, -np.inf)
        order = np.argsort(-gain, axis=None, kind="stable")[:_TRIED]
        for flat in order[gain.reshape(-1)[order] > 0]:
            in_, out = divmod(int(flat), chosen.size)
            yield out, in_

    def _left(self, chosen: NDArray[np.intp]) -> NDArray[np.bool_]:
        left = self.open_.copy()
        left[chosen] = False
        return left


class _Look:
    """What every column is worth beside the chosen ones, summed over the dimensions of the outcome."""

    def __init__(self, search: Search, chosen: NDArray[np.intp]) -> None:
        columns = dense(search.features, chosen)
        scaled = standardised(columns, search.outcome.weights)[0]
        basis = np.hstack([np.ones((columns.shape[0], 1)), scaled])
        fit = search.outcome.explained_by(columns)
        self._dimensions = [
            _Dimension.of(search, basis, fit.scores[:, c], fit.curvatures[:, c], fit.standardised[:, c])
            for c in range(search.outcome.dimensions)
        ]

    @property
    def additions(self) -> FloatArray:
        """The fall of the loss by adding each column (P)."""
        return np.asarray(sum(each.additions for each in self._dimensions))

    @property
    def rises(self) -> FloatArray:
        """The rise of the loss without each of the chosen (k)."""
        return np.asarray(sum(each.rises for each in self._dimensions))

    @property
    def exchanges(self) -> FloatArray:
        """The fall of the loss by each exchange, P x k."""
        return np.asarray(sum(each.exchanges for each in self._dimensions))


@dataclass(frozen=True, kw_only=True)
class _Dimension:
    """`pull` x'u and `beyond` s (P), `shared` x'Wp (P x k), `inverse` C_ii and `coefficients` b (k)."""

    pull: FloatArray
    beyond: FloatArray
    shared: FloatArray
    inverse: FloatArray
    coefficients: FloatArray

    @classmethod
    def of(
        cls, search: Search, basis: FloatArray, slope: FloatArray, curvature: FloatArray, coefficients: FloatArray
    ) -> "_Dimension":
        weighted = basis * curvature[:, None]
        inverse = la.pinvh(basis.T @ weighted, check_finite=False)
        crossed = np.asarray(search.features.T @ weighted)
        square = np.asarray(search.squares.T @ curvature)
        spanned = crossed @ inverse
        beyond = square - (spanned * crossed).sum(axis=1)
        diagonal = np.maximum(np.diag(inverse)[1:], np.finfo(np.float64).tiny)
        return cls(
            pull=np.asarray(search.features.T @ slope),
            beyond=np.where(beyond > _NEW * square, beyond, 0.0),
            shared=spanned[:, 1:] / diagonal,
            inverse=diagonal,
            coefficients=coefficients,
        )

    @property
    def additions(self) -> FloatArray:
        return _fall(self.pull, self.beyond)

    @property
    def rises(self) -> FloatArray:
        return self.coefficients**2 / self.inverse

    @property
    def exchanges(self) -> FloatArray:
        pull = self.pull[:, None] + self.coefficients * self.shared
        beyond = self.beyond[:, None] + self.inverse * self.shared**2
        return _fall(pull, np.where(self.beyond[:, None] > 0, beyond, 0.0)) - self.rises


def _fall(pull: FloatArray, beyond: FloatArray) -> FloatArray:
    """Give pull^2 / beyond, 0 where a column brings nothing new."""
    return np.divide(pull**2, beyond, out=np.zeros_like(pull), where=beyond > 0)
