"""What JSON cannot say becomes null, however deep it lies, and nothing else changes."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0core.plain import plain

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=json_values)
def test_what_json_can_say_is_left_as_it_is(value: Any) -> None:
    assert plain(value) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_becomes_null_however_deep(number: float) -> None:
    value = {"a": [1.0, (number, {"b": number})], "c": number}
    assert plain(value) == {"a": [1.0, [None, {"b": None}]], "c": None}


@given(value=st.recursive(st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_what_it_gives_is_always_strict_json(value: Any) -> None:
    json.dumps(plain(value), allow_nan=False)
