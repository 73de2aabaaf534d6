"""With nested rows taken out both products stay what they are, and rows that are nested by construction are found.

Values are whole numbers, so that a sum is the same in any order and equality can be asked for.
"""

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.calibration.kernels.nesting import Nesting, nesting_of

Dense = NDArray[np.float64]
INDEX_TYPES = [np.int32, np.int64]


def _sparse(dense: Dense, index: type = np.int32) -> sp.csr_array:
    matrix = sp.csr_array(dense)
    return sp.csr_array(
        (matrix.data, matrix.indices.astype(index), matrix.indptr.astype(index)), shape=matrix.shape, copy=False
    )


def _remainder(matrix: sp.csr_array, nesting: Nesting) -> sp.csr_array:
    return sp.csr_array((matrix.data * ~nesting.covered, matrix.indices, matrix.indptr), shape=matrix.shape)


def _totals(matrix: sp.csr_array, nesting: Nesting, weights: Dense) -> Dense:
    rows = np.asarray(_remainder(matrix, nesting) @ weights)
    for parent, child in zip(nesting.parent, nesting.child, strict=True):
        rows[parent] += rows[child]
    return rows


def _pull(matrix: sp.csr_array, nesting: Nesting, residual: Dense) -> Dense:
    rows = residual.copy()
    for parent, child in zip(nesting.parent[::-1], nesting.child[::-1], strict=True):
        rows[child] += rows[parent]
    return np.asarray(_remainder(matrix, nesting).T @ rows)


def _check_law(matrix: sp.csr_array, nesting: Nesting, rng: np.random.Generator) -> None:
    weights, residual = (rng.integers(-9, 10, size).astype(np.float64) for size in (matrix.shape[1], matrix.shape[0]))
    assert (_totals(matrix, nesting, weights) == matrix @ weights).all()
    assert (_pull(matrix, nesting, residual) == matrix.T @ residual).all()
    assert nesting.covered.sum() == np.diff(matrix.indptr)[nesting.child].sum()
    for k, child in enumerate(nesting.child):
        assert child not in nesting.parent[k:]  # complete before it is added


def _relative(rows: list[Dense], kind: int, rng: np.random.Generator) -> Dense:
    """Give a row that has to do with the ones there are."""
    a, b = (rows[i] for i in rng.integers(0, len(rows), 2))
    part = rng.random(a.size) < 0.5
    row = [
        rng.integers(1, 3, a.size) * (rng.random(a.size) < 0.4),  # a new one
        np.where(a > 0, a, b),  # holds a, and b where they do not meet
        a.copy(),  # equal
        a * part,  # within a
        np.where(a > 0, 3 - a, 0),  # where a is, at other values
        np.zeros(a.size),
        np.ones(a.size),
    ][kind]
    return np.asarray(row, dtype=np.float64)


def _related(seed: int, kinds: list[int], columns: int) -> Dense:
    rng = np.random.default_rng(seed)
    rows: list[Dense] = [np.zeros(columns)]
    for kind in [0, *kinds]:
        rows.append(_relative(rows, kind, rng))
    return np.stack(rows)[rng.permutation(len(rows))]


@settings(deadline=None, max_examples=300)
@given(
    seed=st.integers(0, 2**31),
    kinds=st.lists(st.integers(0, 6), max_size=12),
    columns=st.integers(1, 12),
    index=st.sampled_from(INDEX_TYPES),
)
def test_both_products_are_those_of_the_whole_matrix(seed: int, kinds: list[int], columns: int, index: type) -> None:
    matrix = _sparse(_related(seed, kinds, columns), index)
    _check_law(matrix, nesting_of(matrix), np.random.default_rng(seed))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 30), columns=st.integers(1, 40), density=st.floats(0, 1))
def test_random_rows_are_not_nested(seed: int, rows: int, columns: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    found = nesting_of(_sparse(rng.random((rows, columns)) * (rng.random((rows, columns)) < density)))
    assert not found.covered.any()
    assert (found.parent.size, found.child.size) == (0, 0)


def _found(*rows: Sequence[float] | Dense) -> tuple[list[tuple[int, int]], list[bool]]:
    matrix = _sparse(np.array(rows))
    nesting = nesting_of(matrix)
    _check_law(matrix, nesting, np.random.default_rng(0))
    return list(zip(nesting.parent.tolist(), nesting.child.tolist(), strict=True)), nesting.covered.tolist()


def test_a_chain_is_taken_apart_from_the_inside() -> None:
    pairs, covered = _found([1, 2, 3, 4], [0, 2, 0, 0], [0, 2, 3, 0])
    assert pairs == [(2, 1), (0, 2)]
    assert covered == [False, True, True, False, False, True, False]


def test_of_equal_rows_the_last_keeps_its_entries() -> None:
    pairs, covered = _found([5, 6], [5, 6], [5, 6])
    assert sorted(pairs) == [(0, 1), (1, 2)]
    assert covered == [True, True, True, True, False, False]


def test_of_two_rows_that_overlap_one_is_taken() -> None:
    pairs, covered = _found([1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 0])
    assert pairs == [(0, 1)]
    assert sum(covered) == 2


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[1.0, 2.0], [1.0, 3.0]], id="other values"),
        pytest.param([[1.0, 2.0, 0.0], [0.0, 2.0, 3.0]], id="overlap"),
        pytest.param([[0.0, 0.0], [0.0, 0.0]], id="zeros"),
        pytest.param([[1.0, 2.0]], id="one row"),
        pytest.param([[0.0]], id="one zero"),
    ],
)
def test_what_is_not_nested_is_left_alone(rows: list[list[float]]) -> None:
    pairs, covered = _found(*rows)
    assert pairs == []
    assert not any(covered)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_an_empty_matrix_has_none(shape: tuple[int, int]) -> None:
    nesting = nesting_of(sp.csr_array(shape))
    assert (nesting.covered.size, nesting.parent.size) == (0, 0)


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_of_districts_states_and_the_nation_only_the_districts_are_left(index: type) -> None:
    rng = np.random.default_rng(3)
    households, districts, states = 600, 24, 6
    district = rng.permutation(np.repeat(np.arange(districts), households // districts))
    state = district // (districts // states)
    rows = []
    for share in (1.0, 0.7, 0.3):
        counts = rng.integers(1, 6, households) * (rng.random(households) < share)
        rows += [np.where(district == d, counts, 0) for d in range(districts)]
        rows += [np.where(state == s, counts, 0) for s in range(states)]
        rows += [counts]
    matrix = _sparse(np.stack(rows)[rng.permutation(len(rows))].astype(np.float64), index)
    nesting = nesting_of(matrix)
    _check_law(matrix, nesting, rng)
    assert 3 * nesting.covered.sum() == 2 * matrix.nnz


def test_large_rows_that_are_not_nested_do_not_end_the_search_for_small_ones_that_are() -> None:
    rng = np.random.default_rng(0)
    small = np.eye(40, 2000, 1000)
    large = (rng.random((40, 2000)) < 0.9).astype(np.float64)
    large[:, 0] = 1
    large[:, 1000:1040] = small[:, 1000:1040]
    pairs, _ = _found(*large, *small)
    assert sorted(pairs) == [(i, 40 + i) for i in range(40)]
