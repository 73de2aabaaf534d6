"""Sparse matrices from outside: checked position by position, then made canonical.

A canonical matrix is float64 CSR with sorted columns, no entry twice and no stored zero: the same numbers give the
same bytes, whatever form they came in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.errors import InvalidMatrix, NonfiniteInput
from l0core.findings import Finding

IndexArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_TAKEN = "fd" + np.typecodes["AllInteger"]  # numpy's codes of float32, float64 and integers
_ENTRIES_AT_ONCE = 100_000
_MOST_BYTES = 2**40  # of a float64 vector along one side; no machine this runs on has more: the shape is a mistake


@dataclass(frozen=True, kw_only=True)
class Csr:
    """The parts of a compressed-row matrix as they came, unchecked."""

    shape: tuple[int, int]
    indptr: NDArray[np.integer]
    indices: NDArray[np.integer]
    data: NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Csc:
    """The parts of a compressed-column matrix as they came, unchecked."""

    shape: tuple[int, int]
    indptr: NDArray[np.integer]
    indices: NDArray[np.integer]
    data: NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Coo:
    """Row, column, value triples as they came, unchecked."""

    shape: tuple[int, int]
    row: NDArray[np.integer]
    col: NDArray[np.integer]
    data: NDArray[np.generic]


RawMatrix = Csr | Csc | Coo


def parts(matrix: object) -> RawMatrix:
    """Give the parts of any scipy sparse matrix or array, or of a dense 2-D array."""
    try:
        return _read(matrix)
    except InvalidMatrix:
        raise
    except (ValueError, IndexError) as error:
        raise InvalidMatrix(
            f"the matrix cannot be read as a sparse or dense array ({error}); check its parts", pointer="/matrix"
        ) from error


def canonical(raw: RawMatrix, *, pointer: str = "/matrix") -> tuple[sp.csr_array, list[Finding]]:
    """Check every index and value of `raw` and give it as canonical CSR, with what had to be mended.

    Cost: a few passes over the nonzeros and, for unsorted input, one sort. Raises InvalidMatrix with the first bad
    position, NonfiniteInput with the count.

    >>> raw = Coo(shape=(1, 2), row=np.array([0, 0]), col=np.array([1, 1]), data=np.array([2.0, 3.0]))
    >>> matrix, findings = canonical(raw)
    >>> matrix.toarray().tolist(), [finding.code for finding in findings]
    ([[0.0, 5.0]], ['duplicates_summed'])
    """
    _check_shape(raw.shape, pointer)
    _check_values(raw.data, pointer)
    checked = _checked_coo(raw, pointer) if isinstance(raw, Coo) else _checked_compressed(raw, pointer)
    findings = _order_findings(raw, checked)
    return _merged(checked, findings), findings


def checked(raw: RawMatrix, *, pointer: str = "/matrix") -> sp.csr_array:
    """Give `raw` as CSR with sorted columns and no entry twice: its own arrays where they are so already, else a copy.

    Raises as `canonical` does. Memory where nothing is copied: 3 bytes an entry while it looks.

    >>> held = sp.csr_array(np.eye(2))
    >>> bool(np.shares_memory(checked(parts(held)).data, held.data))
    True
    """
    return _own_arrays(raw, pointer) if isinstance(raw, Csr) else canonical(raw, pointer=pointer)[0]


def runs_of_rows(indptr: NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    """Cut the rows into runs of about a hundred thousand entries, so that what is computed by entry stays small."""
    begin, rows = 0, indptr.size - 1
    while begin < rows:
        last = int(np.searchsorted(indptr, indptr[begin] + _ENTRIES_AT_ONCE, side="right")) - 1
        end = min(rows, max(begin + 1, last))
        yield begin, end
        begin = end


def _own_arrays(raw: Csr, pointer: str) -> sp.csr_array:
    _check_shape(raw.shape, pointer)
    _check_values(raw.data, pointer)
    _same_length(pointer, indices=raw.indices, data=raw.data)
    _check_indptr(raw.indptr, raw.shape[0], raw.data.size, pointer)
    _check_indices(raw.indices, raw.shape[1], "indices", pointer)
    numbers = cast("FloatArray", raw.data)  # or another of the types that were checked
    matrix = sp.csr_array((numbers, raw.indices, raw.indptr), shape=raw.shape)
    if raw.data.dtype.kind == "f" and raw.data.dtype.isnative and matrix.has_canonical_format:
        return matrix
    return canonical(raw, pointer=pointer)[0]


def _read(matrix: object) -> RawMatrix:
    if isinstance(matrix, sp.csr_array | sp.csr_matrix):
        _check_dimensions(len(matrix.shape))
        return Csr(shape=matrix.shape, indptr=matrix.indptr, indices=matrix.indices, data=matrix.data)
    if sp.issparse(matrix):
        coo = cast("sp.coo_array", matrix).tocoo()
        _check_dimensions(coo.ndim)
        return Coo(shape=coo.shape, row=coo.row, col=coo.col, data=coo.data)
    dense = np.asarray(matrix)
    _check_dimensions(dense.ndim)
    row, col = np.nonzero(dense)
    return Coo(shape=dense.shape, row=row, col=col, data=dense[row, col])


def _check_dimensions(ndim: int) -> None:
    if ndim != 2:
        raise InvalidMatrix(f"the matrix has {ndim} dimensions; it needs 2 (targets x units)", pointer="/matrix")


def _check_shape(shape: tuple[int, int], pointer: str) -> None:
    if min(shape) < 1:
        raise InvalidMatrix(f"the matrix has shape {shape}; it needs at least one row and one column", pointer=pointer)
    if 8 * (int(max(shape)) + 1) > _MOST_BYTES:
        raise InvalidMatrix(
            f"the matrix has shape {shape}; a vector along its longer side needs more than {_MOST_BYTES:,} bytes: "
            "check the shape",
            pointer=pointer,
        )


def _check_values(data: NDArray[np.generic], pointer: str) -> None:
    if data.dtype.char not in _TAKEN:
        raise InvalidMatrix(f"the matrix holds {data.dtype}; send float32, float64 or integers", pointer=pointer)
    bad = np.flatnonzero(~np.isfinite(data))
    if bad.size:
        raise NonfiniteInput(
            f"{bad.size} of the matrix's {data.size} stored values are NaN or infinite, the first at position {bad[0]}",
            pointer=pointer,
        )


def _check_indices(indices: NDArray[np.integer], limit: int, name: str, pointer: str) -> None:
    if indices.dtype.kind not in "iu":
        raise InvalidMatrix(f"{name} holds {indices.dtype}; it needs integers", pointer=pointer)
    bad = np.flatnonzero((indices < 0) | (indices >= limit))
    if bad.size:
        raise InvalidMatrix(
            f"{name}[{bad[0]}] is {indices[bad[0]]}; it must be from 0 to {limit - 1} ({bad.size} such entries)",
            pointer=pointer,
        )


def _same_length(pointer: str, **arrays: NDArray[np.generic]) -> None:
    if len({array.shape for array in arrays.values()}) > 1 or any(array.ndim != 1 for array in arrays.values()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InvalidMatrix(f"these must be one-dimensional and equally long: {shapes}", pointer=pointer)


def _checked_coo(raw: Coo, pointer: str) -> sp.csr_array:
    _same_length(pointer, row=raw.row, col=raw.col, data=raw.data)
    _check_indices(raw.row, raw.shape[0], "row", pointer)
    _check_indices(raw.col, raw.shape[1], "col", pointer)
    row, col = raw.row.astype(np.int64), raw.col.astype(np.int64)
    order = np.argsort(row, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=raw.shape[0]))])
    return sp.csr_array((raw.data[order].astype(np.float64), col[order], indptr), shape=raw.shape)


def _checked_compressed(raw: Csr | Csc, pointer: str) -> sp.csr_array:
    outer, inner = raw.shape if isinstance(raw, Csr) else raw.shape[::-1]
    _same_length(pointer, indices=raw.indices, data=raw.data)
    _check_indptr(raw.indptr, outer, raw.data.size, pointer)
    _check_indices(raw.indices, inner, "indices", pointer)
    make = sp.csr_array if isinstance(raw, Csr) else sp.csc_array
    indices, indptr = raw.indices.astype(np.int64), raw.indptr.astype(np.int64)
    return sp.csr_array(make((raw.data.astype(np.float64), indices, indptr), shape=raw.shape))


def _check_indptr(indptr: NDArray[np.integer], outer: int, nnz: int, pointer: str) -> None:
    if indptr.dtype.kind not in "iu" or indptr.shape != (outer + 1,):
        raise InvalidMatrix(
            f"indptr has {indptr.dtype} shape {indptr.shape}; it needs {outer + 1} integers", pointer=pointer
        )
    if indptr[0] != 0 or indptr[-1] != nnz:
        raise InvalidMatrix(
            f"indptr runs from {indptr[0]} to {indptr[-1]}; it must run from 0 to the {nnz} stored values",
            pointer=pointer,
        )
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        at = falls[0]
        raise InvalidMatrix(
            f"indptr falls from {indptr[at]} to {indptr[at + 1]} at position {at + 1}; it must never fall",
            pointer=pointer,
        )


def _order_findings(raw: RawMatrix, matrix: sp.csr_array) -> list[Finding]:
    if isinstance(raw, Csr) and not matrix.has_sorted_indices:
        return [_sorted_finding("the column indices were not in order within their rows; they were sorted")]
    if isinstance(raw, Csc) and not _ascends_within(raw.indptr, raw.indices):
        return [_sorted_finding("the row indices were not in order within their columns; they were sorted")]
    return []


def _sorted_finding(text: str) -> Finding:
    return Finding(code="indices_sorted", severity="warning", message=text)


def _ascends_within(indptr: NDArray[np.integer], indices: NDArray[np.integer]) -> bool:
    """Say whether indices fall only where a new row or column begins."""
    falls = np.flatnonzero(indices[1:] < indices[:-1]) + 1
    return bool(np.isin(falls, indptr).all())


def _merged(matrix: sp.csr_array, findings: list[Finding]) -> sp.csr_array:
    stored = matrix.nnz
    matrix.sort_indices()
    if not matrix.has_canonical_format:
        matrix = _summed(matrix)
    merged = stored - matrix.nnz
    if not np.isfinite(matrix.data).all():
        raise NonfiniteInput("summing duplicate entries overflowed to infinity", pointer="/matrix")
    matrix.eliminate_zeros()
    if merged:
        text = f"{merged} entries stood at a place already taken; they were summed"
        findings.append(Finding(code="duplicates_summed", severity="warning", message=text, value=float(merged)))
    return matrix


def _summed(matrix: sp.csr_array) -> sp.csr_array:
    """Sum the entries at each place, the lowest first: floating-point sums depend on the order, digests must not."""
    rows, cols, data = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), matrix.indices, matrix.data
    opens = (np.diff(rows, prepend=-1) != 0) | (np.diff(cols, prepend=-1) != 0)  # the first entry at its place
    shared = np.flatnonzero(~(opens & np.append(opens[1:], True)))
    data[shared] = data[shared][np.lexsort((data[shared], np.cumsum(opens)[shared]))]
    first = np.flatnonzero(opens)
    with np.errstate(over="ignore"):  # an infinite sum is refused by its caller
        sums = np.add.reduceat(data, first)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[first], minlength=matrix.shape[0]))])
    return sp.csr_array((sums, cols[first], indptr), shape=matrix.shape)
