"""The Q x Q systems of a step in the dual: (A diag(slope) A' + diag(softness)) step = gradient.

Three ways, by what the rows of A share. Rows of different places share no unit, so that A A' is nearly empty: a sparse
factorisation. Not too many rows: a dense one. Many rows that all overlap: conjugate gradients, which need no such
matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg, splu

from l0core.arrays import FloatArray
from l0core.calibration.kernels.elimination import fill_counts
from l0core.calibration.kernels.gram import add_products, products_in_pattern

Solve = Callable[[FloatArray], FloatArray]
_RIDGE = 1e-14  # of the mean of the diagonal: the least that keeps it positive definite in float64
_LEAST_RIDGE = 1e-100  # where no unit can move at all
_MOST_RIDGE = 1e-2  # of that mean: what is not positive definite then is no matrix of numbers
_MOST_DIRECT = 8_000  # rows: half a gigabyte, and 0.17 10^12 operations a step
_FEW_ROWS = 300  # a dense factorisation of these takes a millisecond
_MOST_FILL = 60_000_000  # nonzeros of a sparse factor: two thirds of a gigabyte
_MOST_SPARSE = 1e11  # multiplications of a sparse factorisation: a minute
_SPARSE_IS_SLOWER = 10  # times a multiplication of a dense one
_NEAR, _ITERATIONS = 1e-8, 500  # of a step by conjugate gradients


class System(Protocol):
    """The systems of one matrix A."""

    exact: ClassVar[bool]

    def factor(self, slope: FloatArray, softness: FloatArray) -> Solve:
        """Prepare the system of these slopes of the units and softnesses of the rows; give its solver."""
        ...


@dataclass(frozen=True, kw_only=True)
class Both:
    """A matrix by rows and by columns."""

    rows: sp.csr_array
    columns: sp.csr_array

    @classmethod
    def of(cls, matrix: sp.csr_array) -> "Both":
        """Transpose it once."""
        return cls(rows=matrix, columns=sp.csr_array(matrix.T))

    @property
    def parts(self) -> tuple[NDArray[np.generic], ...]:
        """What the kernels read."""
        r, c = self.rows, self.columns
        return r.indptr, r.indices, r.data, c.indptr, c.indices, c.data


def system_for(matrix: Both) -> System:
    """Give the fastest of the three for a matrix (Q x N)."""
    q = matrix.rows.shape[0]
    if q <= _FEW_ROWS:
        return DenseSystem(matrix)
    pattern = _sparse_pattern(matrix)
    if pattern is not None:
        return SparseSystem(matrix, *pattern)
    return DenseSystem(matrix) if q <= _MOST_DIRECT else IteratedSystem(matrix)


def _sparse_pattern(matrix: Both) -> tuple[NDArray[np.intp], sp.csr_array] | None:
    """Give an order of the rows, and which share a unit in that order, where a sparse factorisation pays.

    Those with the fewest neighbours go first: the rows of one place, then those of many.
    """
    q = matrix.rows.shape[0]
    overlap = _overlap(matrix)
    if overlap.nnz > min(_MOST_FILL, q**2 // 4):
        return None
    order = np.argsort(np.diff(overlap.indptr), kind="stable")
    ordered = sp.csr_array(overlap[order][:, order])
    counts = fill_counts(ordered.indptr, ordered.indices, min(_MOST_FILL, q**2 // 4)).astype(np.float64)
    work, dense = float(counts @ counts), q**3 / 3 if q <= _MOST_DIRECT else np.inf
    pays = counts.size > 0 and work <= _MOST_SPARSE and work * _SPARSE_IS_SLOWER <= dense
    return (order, ordered) if pays else None


def _overlap(matrix: Both) -> sp.csr_array:
    """Give the pattern of A A', its diagonal whole: a row may have no unit."""
    rows, columns = (sp.csr_array((np.ones(m.nnz, np.float32), m.indices, m.indptr), shape=m.shape)
                     for m in (matrix.rows, matrix.columns))  # fmt: skip
    return sp.csr_array(rows @ columns + sp.eye_array(rows.shape[0], dtype=np.float32))


class DenseSystem:
    """Cholesky's factorisation of the whole matrix, in place: 8 Q^2 bytes."""

    exact: ClassVar[bool] = True

    def __init__(self, matrix: Both) -> None:
        self._matrix = matrix

    def factor(self, slope: FloatArray, softness: FloatArray) -> Solve:
        """Prepare."""
        ridge = _RIDGE
        while True:
            curvature = self._curvature(slope)
            least = max(ridge * float(curvature.trace()) / softness.size, _LEAST_RIDGE)
            curvature[np.diag_indices_from(curvature)] += np.maximum(softness, least)
            try:
                factor = la.cho_factor(curvature, lower=True, overwrite_a=True, check_finite=False)
            except la.LinAlgError:  # rows that depend on one another: a little more ridge only shortens the step
                if ridge > _MOST_RIDGE:
                    raise
                ridge *= 100
                continue
            return lambda gradient: np.asarray(la.cho_solve(factor, gradient, check_finite=False))

    def _curvature(self, slope: FloatArray) -> FloatArray:
        """Give the lower triangle of A diag(slope) A'."""
        curvature = np.zeros((self._matrix.rows.shape[0],) * 2, order="F")
        add_products(*self._matrix.parts, slope, curvature)
        return curvature


class SparseSystem:
    """A sparse factorisation of the rows in a given order; `pattern` is that of A A' in this order."""

    exact: ClassVar[bool] = True

    def __init__(self, matrix: Both, order: NDArray[np.intp], pattern: sp.csr_array) -> None:
        self._ordered = Both.of(sp.csr_array(matrix.rows[order]))
        self._order = order
        self._curvature = sp.csc_array((np.zeros(pattern.nnz), pattern.indices, pattern.indptr), shape=pattern.shape)
        self._curvature.sort_indices()
        below = np.repeat(np.arange(order.size), np.diff(self._curvature.indptr))
        self._diagonal = np.flatnonzero(self._curvature.indices == below)

    def factor(self, slope: FloatArray, softness: FloatArray) -> Solve:
        """Prepare."""
        held, order = self._curvature, self._order
        products_in_pattern(*self._ordered.parts, slope, held.indptr, held.indices, held.data)
        own = held.data[self._diagonal]
        ridge = _RIDGE
        while True:
            held.data[self._diagonal] = own + np.maximum(softness[order], max(ridge * float(own.mean()), _LEAST_RIDGE))
            try:
                factor = splu(held, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
            except RuntimeError:  # exactly singular: as above
                if ridge > _MOST_RIDGE:
                    raise
                ridge *= 100
                continue
            break

        def solve(gradient: FloatArray) -> FloatArray:
            step = np.empty_like(gradient)
            step[order] = factor.solve(gradient[order])
            return step

        return solve


class IteratedSystem:
    """Conjugate gradients with the diagonal for preconditioner: near enough for Newton's method to go on."""

    exact: ClassVar[bool] = False

    def __init__(self, matrix: Both) -> None:
        self._matrix = matrix

    def factor(self, slope: FloatArray, softness: FloatArray) -> Solve:
        """Prepare."""
        active = np.flatnonzero(slope)
        columns = self._matrix.columns[active]
        rows, slopes = sp.csr_array(columns.T), slope[active]
        diagonal = np.asarray(rows.multiply(rows) @ slopes).ravel() + softness
        diagonal[diagonal == 0] = 1.0

        def curved(v: FloatArray) -> FloatArray:
            return np.asarray(rows @ (slopes * (columns @ v)) + softness * v)

        shape = (softness.size,) * 2
        curvature = LinearOperator(shape, matvec=curved)
        nearly = LinearOperator(shape, matvec=lambda v: v / diagonal)

        def solve(gradient: FloatArray) -> FloatArray:
            step, _ = cg(curvature, gradient, rtol=_NEAR, maxiter=_ITERATIONS, M=nearly)
            return np.asarray(step)

        return solve
