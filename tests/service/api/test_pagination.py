"""Cursors: what comes back is what was put in, and anything else is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.pagination import decode, encode, page
from service.errors import Unprocessable

_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))  # what a database can hold
_places = _texts | st.lists(st.integers() | st.floats(allow_nan=False) | _texts)


@given(_places)
def test_a_place_comes_back_through_its_cursor(place: object) -> None:
    cursor = encode(place)
    assert decode(cursor) == place
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.text(max_size=40))
def test_any_other_text_is_a_place_or_a_refusal(text: str) -> None:
    try:
        decode(text)
    except Unprocessable as error:
        assert error.errors[0].pointer == "/cursor"  # noqa: PT017 - both ways are right


@pytest.mark.parametrize("cursor", ["x", "%%%%", "\u00e9", base64.urlsafe_b64encode(b"\xff\xfe").decode(), "e30"[:2]])
def test_rubbish_is_refused(cursor: str) -> None:
    with pytest.raises(Unprocessable, match="not one that this list gave"):
        decode(cursor)


@given(st.lists(st.integers(), max_size=12), st.integers(1, 10))
def test_a_page_is_full_and_says_whether_there_is_more(rows: list[int], limit: int) -> None:
    asked = rows[: limit + 1]
    given_ = page(asked, limit, "place")
    assert given_["data"] == rows[:limit]
    assert given_["has_more"] is (len(rows) > limit)
    assert (given_["next_cursor"] is not None) is given_["has_more"]
