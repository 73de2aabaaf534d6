"""Bounds of weights and protected units: what is taken, what is refused, and where."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0core.calibration.unit_rules import WeightBounds, protected_units, weight_bounds
from l0core.errors import InvalidInput, L0Error, NonfiniteInput, ShapeMismatch

NAN, INF = float("nan"), float("inf")


def test_one_number_is_spread_over_all_units() -> None:
    bounds = weight_bounds({"lower": 1, "upper": [1, 2.5, INF]}, 3)
    np.testing.assert_array_equal(bounds.lower, [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(bounds.upper, [1.0, 2.5, INF])


@pytest.mark.parametrize(
    "given", [None, {}, {"lower": None}, {"lower": 0}, {"lower": [0, 0], "upper": INF}, {"upper": [INF, INF]}]
)
def test_bounds_that_bound_nothing_are_none(given: Any) -> None:
    assert weight_bounds(given, 2) == WeightBounds()


def test_a_weight_may_be_held_to_one_value() -> None:
    bounds = weight_bounds({"lower": [0, 7], "upper": [0, 7]}, 2)
    np.testing.assert_array_equal(bounds.lower, bounds.upper)


@pytest.mark.parametrize(
    ("given", "error", "pointer", "says"),
    [
        (5, InvalidInput, "", "is 5; it takes 'lower' and 'upper'"),
        ({"max": 5}, InvalidInput, "/max", "has 'max'; it takes"),
        ({"lower": -1}, InvalidInput, "/lower", "weight_bounds/lower is -1; it must be 0 or more"),
        ({"lower": [1, -1]}, InvalidInput, "/lower/1", "lower[1] is -1; it must be 0 or more"),
        ({"lower": INF}, NonfiniteInput, "/lower", "must be finite"),
        ({"upper": -INF}, NonfiniteInput, "/upper", "must be finite"),
        ({"upper": [1, NAN]}, NonfiniteInput, "/upper/1", "upper[1] is nan"),
        ({"upper": [1]}, ShapeMismatch, "/upper", "needs (2,)"),
        ({"upper": [[1], [1, 2]]}, InvalidInput, "/upper", "cannot be read as an array"),
        ({"upper": True}, InvalidInput, "/upper", "it needs numbers"),
        ({"upper": "7"}, InvalidInput, "/upper", "it needs numbers"),
        ({"lower": 2, "upper": [2, 1]}, InvalidInput, "/upper/1", "upper[1] is 1, below the lower bound 2"),
    ],
)
def test_bounds_that_cannot_be_used_are_refused_where_they_stand(
    given: Any, error: type[L0Error], pointer: str, says: str
) -> None:
    with pytest.raises(error) as caught:
        weight_bounds(given, 2)
    assert type(caught.value) is error
    assert caught.value.pointer == f"/weight_bounds{pointer}"
    assert says in caught.value.message


@given(st.permutations(range(12)), st.integers(0, 12))
def test_protected_units_come_in_order(units: list[int], count: int) -> None:
    held = protected_units(units[:count], 12, None)
    assert held.tolist() == sorted(units[:count])
    assert held.dtype == np.int64


def test_no_protected_units_is_an_empty_list() -> None:
    assert protected_units(None, 3, None).tolist() == protected_units([], 3, None).tolist() == []


@pytest.mark.parametrize(
    ("given", "error", "pointer", "says"),
    [
        ([0, 3], InvalidInput, "/1", "protected_units[1] is 3; it must be from 0 to 2"),
        ([-1], InvalidInput, "/0", "protected_units[0] is -1; it must be from 0 to 2"),
        ([2, 0, 2, 0], InvalidInput, "/2", "protected_units[2] is 2; it stands there already"),
        ([0.5], InvalidInput, "/0", "must be a whole number"),
        ([NAN], NonfiniteInput, "/0", "must be finite"),
        (1, ShapeMismatch, "", "has shape ()"),
        ([[0]], ShapeMismatch, "", "has shape (1, 1)"),
        ([[0], [1, 2]], InvalidInput, "", "cannot be read as an array"),
        ([0, 1], InvalidInput, "/1", "protected_units[1] is 1; the unit's upper weight bound is 0"),
    ],
)
def test_units_that_cannot_be_protected_are_refused_where_they_stand(
    given: Any, error: type[L0Error], pointer: str, says: str
) -> None:
    with pytest.raises(error) as caught:
        protected_units(given, 3, np.array([1.0, 0.0, INF]))
    assert type(caught.value) is error
    assert caught.value.pointer == f"/protected_units{pointer}"
    assert says in caught.value.message
