"""Vectors from outside: what is taken, and every refusal with its class, its pointer and its words."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from l0core.arrays import Axis, booleans, integers, vector
from l0core.errors import InvalidInput, L0Error, NonfiniteInput, ShapeMismatch

THREE = Axis(length=3, noun="units")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_finite_numbers_come_through_unchanged(values: list[float]) -> None:
    given_ = vector(values, name="x", axis=THREE)
    assert given_.dtype == np.float64
    assert given_.tolist() == values


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "uint32", ">f8", ">i4"])
def test_every_number_type_is_taken_as_float64(dtype: str) -> None:
    given_ = vector(np.array([1, 2, 3], dtype=dtype), name="x", axis=THREE)
    assert given_.dtype == np.dtype("=f8")
    assert given_.tolist() == [1.0, 2.0, 3.0]


def test_the_array_given_is_copied() -> None:
    mine = np.array([1.0, 2.0, 3.0])
    theirs = vector(mine, name="x", axis=THREE)
    mine[0] = 9.0
    assert theirs[0] == 1.0


@pytest.mark.parametrize(
    ("values", "error", "pointer", "words"),
    [
        ([1.0, 2.0], ShapeMismatch, "/x", r"x has shape \(2,\); it needs \(3,\), one number for each of the 3 units"),
        ([[1.0], [2.0], [3.0]], ShapeMismatch, "/x", r"\(3, 1\)"),
        (7.0, ShapeMismatch, "/x", r"shape \(\)"),
        ([1.0, float("nan"), 3.0], NonfiniteInput, "/x/1", r"x\[1\] is nan.*1 of 3"),
        ([1.0, 2.0, float("-inf")], NonfiniteInput, "/x/2", r"x\[2\] is -inf"),
        ([True, False, True], InvalidInput, "/x", "bool"),
        (["1", "2", "3"], InvalidInput, "/x", "numbers"),
        ([1 + 2j, 1, 1], InvalidInput, "/x", "complex"),
        ([None, 1.0, 2.0], InvalidInput, "/x", "object"),
        ([2**80, 1, 1], InvalidInput, "/x", "object"),
        (np.ones(3, dtype=np.float16), InvalidInput, "/x", "x holds float16"),
        (np.ones(3, dtype=np.longdouble), InvalidInput, "/x", "float128|longdouble"),
        (np.array(["2020-01-01"] * 3, dtype="datetime64[D]"), InvalidInput, "/x", "datetime64"),
    ],
)
def test_what_is_not_a_vector_of_finite_numbers_is_refused_by_name(
    values: ArrayLike, error: type[L0Error], pointer: str, words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        vector(values, name="x", axis=THREE)
    assert type(caught.value) is error
    assert caught.value.pointer == pointer


@pytest.mark.parametrize("taken", [vector, integers, booleans])
def test_a_ragged_list_is_refused_by_name(taken: Callable[..., object]) -> None:
    with pytest.raises(InvalidInput, match=r"x cannot be read.*send one list of numbers") as caught:
        taken([[1.0], [2.0, 3.0], [4.0]], name="x", axis=THREE)
    assert caught.value.pointer == "/x"


def test_a_negative_zero_becomes_a_zero() -> None:
    assert not np.signbit(vector([-0.0, 0.0, -0.0], name="x", axis=THREE)).any()


def test_a_rule_is_checked_for_every_number_and_the_first_offender_named() -> None:
    with pytest.raises(InvalidInput, match=r"x\[1\] is -2; it must be 0 or more \(2 such values\)") as caught:
        vector([1, -2, -3], name="x", axis=THREE, rule=lambda v: v >= 0, need="must be 0 or more")
    assert caught.value.pointer == "/x/1"


def test_whole_numbers_become_int64_whatever_type_they_had() -> None:
    given_ = integers([1.0, -2.0, 3.0], name="x", axis=THREE)
    assert given_.dtype == np.int64
    assert given_.tolist() == [1, -2, 3]


@pytest.mark.parametrize("bad", [0.5, 2.0**53, -1e300])
def test_a_number_that_is_not_exactly_whole_is_refused_not_rounded(bad: float) -> None:
    with pytest.raises(InvalidInput, match="whole number") as caught:
        integers([0.0, bad, 1.0], name="x", axis=THREE)
    assert caught.value.pointer == "/x/1"


@pytest.mark.parametrize("values", [[True, False, True], [1, 0, 1], [1.0, 0.0, 1.0], np.array([1, 0, 1], dtype="u1")])
def test_booleans_and_their_numbers_are_the_same(values: ArrayLike) -> None:
    given_ = booleans(values, name="x", axis=THREE)
    assert given_.dtype == np.bool_
    assert given_.tolist() == [True, False, True]


@pytest.mark.parametrize("bad", [2, -1, 0.5])
def test_another_number_is_not_a_boolean(bad: float) -> None:
    with pytest.raises(InvalidInput, match="true or false") as caught:
        booleans([0, 1, bad], name="x", axis=THREE)
    assert caught.value.pointer == "/x/2"
