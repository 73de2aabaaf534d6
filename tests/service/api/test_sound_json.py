"""JSON from outside is read once, and what cannot be kept is refused where it stands."""

import json

import pytest

from service.api.sound_json import loads
from service.errors import Unprocessable


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        (b'{"a": ', "", "line 1, column 7"),
        (b'{\n"a" 1}', "", "line 2, column 5"),
        (b"\xff", "", "byte 0 is not UTF-8"),
        (b"\xed\xa0\x80", "", "is not UTF-8"),
        (b"[" * 100_000, "", "nested too deeply"),
        (b"1" * 5000, "", "too many digits"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "", "the key 'c' comes twice"),
        (rb'{"a": ["x", "\u0000"]}', "/a/1", "control character"),
        (rb'{"a/b": {"\ud800": 1}}', "/a~1b", "half of a surrogate pair"),
    ],
)
def test_what_is_no_sound_json_is_refused_in_words(body: bytes, pointer: str, words: str) -> None:
    with pytest.raises(Unprocessable, match=words) as caught:
        loads(body)
    assert caught.value.errors[0].pointer == pointer


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert loads(rb'["\ud83d\ude00"]') == ["\U0001f600"]


def test_an_object_without_end_is_refused_by_the_number_of_its_keys() -> None:
    assert len(loads(_keys(1_000))) == 1_000
    with pytest.raises(Unprocessable, match="has 100000 keys; at most 1000 are read"):
        loads(_keys(100_000))


def _keys(count: int) -> bytes:
    return json.dumps({str(number): 0 for number in range(count)}).encode()
