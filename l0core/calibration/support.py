"""Units as columns of length 1, those that are kept, and what others would add. Read `matching_pursuit` next."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.bounded_least_squares import BoundedProblem, factor, solve

_LEAST_NEWNESS = 1e-6  # of ||a_j||^2: a unit that brings less of its own is a copy of those kept

Positions = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Pursuit:
    """Exactly k units in order, a weight for each, and b - A w."""

    kept: Positions
    weights: FloatArray
    residual: FloatArray

    @property
    def loss(self) -> float:
        """Give ||A w - b||^2."""
        return float(self.residual @ self.residual)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The units as columns of length 1: x_j = w_j ||a_j||, with bounds and `required` in terms of x.

    `rows` is A' in CSR; an empty column keeps its w_j.
    """

    rows: sp.csr_array
    goal: FloatArray
    length: FloatArray
    lower: FloatArray
    upper: FloatArray
    required: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        matrix: sp.csc_array,
        goal: FloatArray,
        *,
        lower: FloatArray,
        upper: FloatArray,
        required: NDArray[np.bool_],
    ) -> Self:
        """Measure the columns of `matrix`."""
        rows = sp.csr_array(matrix.T)
        square = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
        length = np.where(square > 0, np.sqrt(square), 1.0)
        return cls(rows=rows, goal=goal, length=length, lower=lower * length, upper=upper * length, required=required)

    def among(self, units: Positions) -> "Columns":
        """Give these units alone."""
        return Columns(
            rows=self.rows[units],
            goal=self.goal,
            length=self.length[units],
            lower=self.lower[units],
            upper=self.upper[units],
            required=self.required[units],
        )

    def along(self, direction: FloatArray) -> FloatArray:
        """Give a_j'v for every unit (row), and each v where `direction` has several columns."""
        return np.asarray((self.rows @ direction).T / self.length).T

    def some(self, units: Positions) -> sp.csr_array:
        """Give these columns, one a row."""
        chosen = self.rows[units]
        chosen.data /= np.repeat(self.length[units], np.diff(chosen.indptr))
        return chosen

    def one(self, unit: int) -> FloatArray:
        """Give this column with its zeros."""
        column, entries = np.zeros(self.goal.size), slice(self.rows.indptr[unit], self.rows.indptr[unit + 1])
        column[self.rows.indices[entries]] = self.rows.data[entries] / self.length[unit]
        return column

    def pursuit(self, support: "Support") -> Pursuit:
        """Give the weights of a support in the order of the units."""
        order = np.argsort(support.kept)
        kept = support.kept[order]
        weights = np.clip(support.x[order], self.lower[kept], self.upper[kept]) / self.length[kept]
        return Pursuit(kept=kept, weights=weights, residual=self.goal - self.rows[kept].T @ weights)


@dataclass(frozen=True, kw_only=True)
class Support:
    """Units that are kept, in the order they came, their columns (one a row), the columns' Gram matrix, and weights."""

    kept: Positions
    columns: sp.csr_array
    gram: FloatArray
    x: FloatArray

    @classmethod
    def empty(cls, columns: Columns) -> Self:
        """Give no unit yet."""
        nothing = np.array([], dtype=np.intp)
        return cls(kept=nothing, columns=columns.some(nothing), gram=np.zeros((0, 0)), x=np.zeros(0))

    def plus(self, columns: Columns, units: Positions, x: FloatArray | float = 0.0) -> "Support":
        """Add units with the weights `x`."""
        kept, before = np.concatenate([self.kept, units]), self.kept.size
        chosen = columns.some(kept)
        across = chosen @ chosen[before:].T.toarray()
        gram = np.empty((kept.size,) * 2)
        gram[:before, :before], gram[:, before:], gram[before:] = self.gram, across, across.T
        weights = np.concatenate([self.x, np.broadcast_to(x, units.shape)])
        return Support(kept=kept, columns=chosen, gram=gram, x=weights)

    def only(self, stays: NDArray[np.bool_]) -> "Support":
        """Leave out the other units."""
        if stays.all():
            return self
        at = np.flatnonzero(stays)
        return Support(kept=self.kept[at], columns=self.columns[at], gram=self.gram[np.ix_(at, at)], x=self.x[at])

    def loss(self, goal: FloatArray) -> float:
        """Give ||A x - b||^2."""
        residual = self.residual(goal)
        return float(residual @ residual)

    def residual(self, goal: FloatArray) -> FloatArray:
        """Give b - A x."""
        return np.asarray(goal - self.columns.T @ self.x)

    def fitted(self, columns: Columns, lower: FloatArray) -> "Support":
        """Fit the weights between `lower` and the units' upper bounds, starting from where they stand."""
        moment, upper = self.columns @ columns.goal, columns.upper[self.kept]
        return replace(self, x=solve(BoundedProblem(gram=self.gram, moment=moment, lower=lower, upper=upper), self.x))


class Complement:
    """What is left of columns beyond the span of a support and of those taken before."""

    def __init__(self, support: Support) -> None:
        self._columns, self._factor = support.columns, factor(support.gram) if support.kept.size else None
        self._taken: list[FloatArray] = []

    def take(self, column: FloatArray) -> FloatArray | None:
        """Give the direction of length 1 that `column` adds, or None for a copy of what is there."""
        beyond = column
        if self._factor is not None:
            inside = la.cho_solve(self._factor, self._columns @ column, check_finite=False)
            beyond = beyond - self._columns.T @ inside
        for direction in self._taken:
            beyond = beyond - direction * (direction @ beyond)
        square = float(beyond @ beyond)
        if square <= _LEAST_NEWNESS:
            return None
        self._taken.append(beyond / np.sqrt(square))
        return self._taken[-1]


def gains(pull: FloatArray, newness: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Give how much the loss falls with a unit and all weights refitted; copies are judged as if they were new.

    `pull` is a_j'r and `newness` the square of what a_j has beyond the support; the unit's x stays within its bounds.

    >>> gains(np.array([2.0, 2.0]), np.array([0.5, 1.0]), np.zeros(2), np.full(2, 3.0)).tolist()
    [7.5, 4.0]
    """
    square = np.where(newness > _LEAST_NEWNESS, newness, 1.0)
    x = np.clip(pull / square, lower, upper)
    return np.asarray(x * (2 * pull - x * square))
