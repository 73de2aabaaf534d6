"""Matrices from outside: every broken structure is refused with the place named; every form of one is the same."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.errors import InvalidMatrix, NonfiniteInput
from l0core.matrices import Coo, Csc, Csr, RawMatrix, canonical, parts

DENSE = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]])


def _csr(
    indptr: object = (0, 2, 3), indices: object = (0, 2, 2), data: object = (1.0, 2.0, 3.0), shape: object = (2, 3)
) -> Csr:
    return Csr(shape=shape, indptr=np.array(indptr), indices=np.array(indices), data=np.array(data))  # type: ignore[arg-type]  # broken on purpose


def _coo(
    row: object = (0, 0, 1), col: object = (0, 2, 2), data: object = (1.0, 2.0, 3.0), shape: object = (2, 3)
) -> Coo:
    return Coo(shape=shape, row=np.array(row), col=np.array(col), data=np.array(data))  # type: ignore[arg-type]  # broken on purpose


def _csc(indptr: object = (0, 1, 1, 3), indices: object = (0, 0, 1), data: object = (1.0, 2.0, 3.0)) -> Csc:
    return Csc(shape=(2, 3), indptr=np.array(indptr), indices=np.array(indices), data=np.array(data))


@pytest.mark.parametrize("raw", [_csr(), _coo(), _csc(), parts(DENSE), parts(sp.csr_array(DENSE))])
def test_a_sound_matrix_is_taken_without_a_word(raw: RawMatrix) -> None:
    matrix, findings = canonical(raw)
    np.testing.assert_array_equal(matrix.toarray(), DENSE)
    assert findings == []


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (_csr(indices=(0, 3, 2)), r"indices\[1\] is 3; it must be from 0 to 2 \(1 such entries\)"),
        (_csr(indices=(0, -1, -2)), r"indices\[1\] is -1; it must be from 0 to 2 \(2 such entries\)"),
        (_csr(indices=np.array([0, 2**64 - 1, 2], dtype=np.uint64)), r"indices\[1\] is 18446744073709551615"),
        (_csr(indices=(0.0, 2.0, 2.0)), "indices holds float64; it needs integers"),
        (_csr(indptr=(1, 2, 3)), "indptr runs from 1 to 3; it must run from 0 to the 3 stored values"),
        (_csr(indptr=(0, 2, 2)), "indptr runs from 0 to 2; it must run from 0 to the 3"),
        (_csr(indptr=(0, 2, 9)), "indptr runs from 0 to 9"),
        (_csr(indptr=(0, 4, 3)), "indptr falls from 4 to 3 at position 2"),
        (_csr(indptr=(0, -1, 3)), "indptr falls from 0 to -1 at position 1"),
        (_csr(indptr=(0, 3)), r"indptr has int64 shape \(2,\); it needs 3 integers"),
        (_csr(indptr=(0, 1, 2, 3)), r"shape \(4,\); it needs 3 integers"),
        (_csr(indptr=(0.0, 2.0, 3.0)), "indptr has float64"),
        (_csr(indptr=((0, 2, 3),)), r"shape \(1, 3\)"),
        (_csr(data=(1.0, 2.0)), r"equally long: indices \(3,\), data \(2,\)"),
        (_csr(data=((1.0, 2.0, 3.0),), indices=((0, 2, 2),)), "one-dimensional"),
        (_csr(data=(True, False, True)), "holds bool"),
        (_csr(data=(1j, 2, 3)), "holds complex128"),
        (_csr(data=("1", "2", "3")), "holds <U1"),
        (_csr(data=np.ones(3, dtype=np.float16)), "holds float16; send float32, float64 or integers"),
        (_csr(data=np.ones(3, dtype=np.longdouble)), "float128|longdouble"),
        (_csr(shape=(0, 3), indptr=(0,), indices=(), data=()), r"shape \(0, 3\); it needs at least one row and one"),
        (_csr(shape=(2, -1)), r"shape \(2, -1\)"),
        (_csc(indices=(0, 2, 1)), r"indices\[1\] is 2; it must be from 0 to 1"),
        (_csc(indptr=(0, 2, 1, 3)), "indptr falls from 2 to 1 at position 2"),
        (_csc(indptr=(0, 1, 3)), r"shape \(3,\); it needs 4 integers"),
        (_coo(row=(0, 2, 1)), r"row\[1\] is 2; it must be from 0 to 1"),
        (_coo(row=(0, 0, -1)), r"row\[2\] is -1"),
        (_coo(col=(3, 2, 2)), r"col\[0\] is 3; it must be from 0 to 2"),
        (_coo(col=(0.5, 2, 2)), "col holds float64"),
        (_coo(row=(0, 1)), r"row \(2,\), col \(3,\), data \(3,\)"),
    ],
)
def test_a_broken_structure_is_refused_with_the_place_named(raw: RawMatrix, words: str) -> None:
    with pytest.raises(InvalidMatrix, match=words) as caught:
        canonical(raw)
    assert caught.value.pointer == "/matrix"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_position_and_their_number(bad: float) -> None:
    with pytest.raises(NonfiniteInput, match=r"2 of the matrix's 3 stored values.*first at position 1"):
        canonical(_coo(data=(1.0, bad, bad)))


def test_duplicates_that_overflow_in_their_sum_are_refused() -> None:
    with pytest.raises(NonfiniteInput, match="overflowed"):
        canonical(_coo(row=(0, 0), col=(0, 0), data=(1.7e308, 1.7e308)))


def test_a_refusal_points_at_the_field_its_caller_names() -> None:
    with pytest.raises(InvalidMatrix) as caught:
        canonical(_csr(indices=(0, 3, 2)), pointer="/features")
    assert caught.value.pointer == "/features"


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), ()])
def test_a_dense_array_of_another_dimension_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidMatrix, match=f"{len(shape)} dimensions"):
        parts(np.ones(shape))


def test_duplicates_are_summed_and_counted() -> None:
    matrix, findings = canonical(_coo(row=(0, 0, 0), col=(1, 1, 1), data=(1.0, 2.0, 4.0)))
    assert matrix.toarray()[0].tolist() == [0.0, 7.0, 0.0]
    assert matrix.nnz == 1
    assert [(f.code, f.severity, f.value) for f in findings] == [("duplicates_summed", "warning", 2.0)]


def test_duplicates_that_cancel_and_stored_zeros_are_dropped() -> None:
    matrix, findings = canonical(_coo(row=(0, 0, 1), col=(1, 1, 2), data=(1.0, -1.0, 0.0)))
    assert matrix.nnz == 0
    assert [f.value for f in findings] == [1.0]


def test_unsorted_rows_are_sorted_and_it_is_said() -> None:
    matrix, findings = canonical(_csr(indices=(2, 0, 2), data=(2.0, 1.0, 3.0)))
    assert matrix.indices.tolist() == [0, 2, 2]
    np.testing.assert_array_equal(matrix.toarray(), DENSE)
    assert [(f.code, f.severity) for f in findings] == [("indices_sorted", "warning")]


def test_unsorted_columns_are_sorted_and_it_is_said() -> None:
    indptr, ones = np.array([0, 2, 3]), np.ones(3)
    _, findings = canonical(Csc(shape=(2, 2), indptr=indptr, indices=np.array([1, 0, 1]), data=ones))
    assert [(f.code, f.severity) for f in findings] == [("indices_sorted", "warning")]
    assert canonical(Csc(shape=(2, 2), indptr=indptr, indices=np.array([0, 1, 0]), data=ones))[1] == []


def test_triples_have_no_order_to_complain_about() -> None:
    _, findings = canonical(_coo(row=(1, 0, 0), col=(2, 2, 0), data=(3.0, 2.0, 1.0)))
    assert findings == []


def test_the_arrays_given_are_left_as_they_were() -> None:
    raw = _csr(indices=(2, 0, 2), data=(2.0, 1.0, 3.0))
    canonical(raw)
    assert (raw.indices.tolist(), raw.data.tolist()) == ([2, 0, 2], [2.0, 1.0, 3.0])


FORMS: dict[str, Callable[[NDArray[np.float64]], object]] = {
    "dense": lambda dense: dense,
    "fortran": np.asfortranarray,
    "list": lambda dense: dense.tolist(),
    "csr_array": sp.csr_array,
    "csr_matrix": sp.csr_matrix,
    "csc_array": sp.csc_array,
    "csc_matrix": sp.csc_matrix,
    "coo_array": sp.coo_array,
    "lil_array": sp.lil_array,
    "dok_array": sp.dok_array,
    "dia_array": sp.dia_array,
    "bsr_array": sp.bsr_array,
}


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), q=st.integers(1, 5), n=st.integers(1, 7))
def test_every_form_of_the_same_numbers_is_the_same_canonical_matrix(form: str, seed: int, q: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.integers(-3, 4, size=(q, n)).astype(np.float64) / 2
    matrix, _ = canonical(parts(FORMS[form](dense)))
    wanted = sp.csr_array(dense)
    wanted.sort_indices()
    assert matrix.data.dtype == np.float64
    assert matrix.indptr.tolist() == wanted.indptr.tolist()
    assert matrix.indices.tolist() == wanted.indices.tolist()
    assert matrix.data.tolist() == wanted.data.tolist()


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), stored=st.integers(0, 40))
def test_triples_in_any_order_and_any_number_of_times_add_up_to_the_dense_matrix(seed: int, stored: int) -> None:
    rng = np.random.default_rng(seed)
    row, col = rng.integers(4, size=stored), rng.integers(5, size=stored)
    data = rng.integers(-4, 5, size=stored).astype(float)
    dense = np.zeros((4, 5))
    np.add.at(dense, (row, col), data)
    matrix, findings = canonical(Coo(shape=(4, 5), row=row, col=col, data=data))
    np.testing.assert_array_equal(matrix.toarray(), dense)
    assert matrix.nnz == np.count_nonzero(dense)
    assert matrix.has_canonical_format
    assert sum(f.value or 0 for f in findings) == stored - len(set(zip(row.tolist(), col.tolist(), strict=True)))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint64", ">f8", ">i4"])
def test_every_number_type_becomes_float64(dtype: str) -> None:
    matrix, _ = canonical(parts(DENSE.astype(dtype)))
    assert matrix.data.dtype == np.dtype("=f8")
    np.testing.assert_array_equal(matrix.toarray(), DENSE)


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(sp.csc_array((np.ones(2), np.array([0, 9]), np.array([0, 1, 2])), shape=(2, 2)), id="csc"),
        pytest.param(sp.coo_array(np.array([1.0, 2.0, 3.0])), id="one-dimensional"),
        pytest.param(sp.csr_array(np.array([1.0, 2.0, 3.0])), id="one-dimensional rows"),
        pytest.param([[1.0, 2.0], [3.0]], id="ragged"),
    ],
)
def test_a_broken_matrix_object_is_refused_as_such(matrix: object) -> None:
    with pytest.raises(InvalidMatrix, match=r"cannot be read|1 dimensions") as caught:
        canonical(parts(matrix))
    assert caught.value.pointer == "/matrix"


@pytest.mark.parametrize("shape", [(1, 2**53), (2**53, 1)])
def test_a_shape_beyond_all_memory_is_refused(shape: tuple[int, int]) -> None:
    from l0core.calibration.problem import CalibrationProblem

    with pytest.raises(InvalidMatrix, match="9007199254740992"):
        CalibrationProblem.build(_coo(row=(0,), col=(0,), data=(1.0,), shape=shape), [1.0])


def test_the_order_of_duplicates_does_not_change_their_sum() -> None:
    sums = set()
    for data in ((0.1, 0.2, 0.3), (0.3, 0.2, 0.1), (0.2, 0.3, 0.1)):
        matrix, _ = canonical(_coo(row=(0, 0, 0), col=(0, 0, 0), data=data))
        sums.add(matrix.data[0])
    assert len(sums) == 1
