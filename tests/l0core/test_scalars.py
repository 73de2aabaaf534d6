"""Single arguments: taken inside their range, refused by name, value and need outside it."""

from decimal import Decimal

import numpy as np
import pytest

from l0core.errors import InvalidHyperparameter
from l0core.scalars import FRACTION, NOT_NEGATIVE, POSITIVE, PROBABILITY, Range, choice, flag, number, whole


@pytest.mark.parametrize(
    ("within", "inside", "outside"),
    [
        (POSITIVE, [5e-324, 1, 1e300], [0, -1]),
        (NOT_NEGATIVE, [0, 1], [-5e-324]),
        (PROBABILITY, [1e-9, 0.999], [0, 1, 2]),
        (FRACTION, [0, 0.5, 1], [-0.1, 1.1]),
        (Range(below=0), [-1], [0, 1]),
        (Range(), [-1e300, 0], []),
    ],
)
def test_a_number_is_taken_inside_its_range_only(within: Range, inside: list[float], outside: list[float]) -> None:
    assert [number(value, name="x", within=within) for value in inside] == inside
    for value in [*outside, float("nan"), float("inf"), -float("inf")]:
        with pytest.raises(InvalidHyperparameter, match="x is ") as caught:
            number(value, name="x", within=within)
        assert caught.value.message == f"x is {value!r}; it must be a number {within}"


@pytest.mark.parametrize(
    ("within", "words"),
    [(PROBABILITY, "above 0 and below 1"), (FRACTION, "at least 0 and at most 1"), (Range(), "finite")],
)
def test_a_range_says_its_ends_in_words(within: Range, words: str) -> None:
    assert str(within) == words


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), Decimal("0.5")])
def test_any_kind_of_number_becomes_a_float(value: object) -> None:
    converted = number(value, name="x", within=POSITIVE)
    assert (type(converted), converted) == (float, 0.5)


@pytest.mark.parametrize("value", ["0.5", b"0.5", bytearray(b"0.5"), True, None, 1j, [0.5], 10**400])
def test_what_is_no_number_is_refused_and_not_converted(value: object) -> None:
    with pytest.raises(InvalidHyperparameter, match=r"x is .*; it must be a number") as caught:
        number(value, name="x", within=POSITIVE)
    assert caught.value.pointer == "/x"


@pytest.mark.parametrize("value", [0, -1, 2.5, 2.0, "2", True, np.True_, None, np.float64(2), float("nan")])
def test_what_is_no_whole_number_in_range_is_refused_and_not_rounded(value: object) -> None:
    with pytest.raises(InvalidHyperparameter, match=r"epochs is .*; it must be a whole number at least 1"):
        whole(value, name="epochs")


def test_a_whole_number_of_any_size_is_held_against_its_range() -> None:
    assert whole(np.int32(7), name="x") == 7
    assert whole(10**400, name="x") == 10**400
    assert whole(0, name="x", at_least=0, at_most=0) == 0
    with pytest.raises(InvalidHyperparameter, match="at least 0 and at most 5"):
        whole(10**400, name="x", at_least=0, at_most=5)


@pytest.mark.parametrize("value", ["huber", "", "MSE", None, 1, ["mse"]])
def test_what_is_not_among_the_choices_is_refused_and_they_are_named(value: object) -> None:
    with pytest.raises(InvalidHyperparameter) as caught:
        choice(value, name="loss_type", choices=("mse", "relative"))
    assert caught.value.message == f"loss_type is {value!r}; it must be one of 'mse', 'relative'"
    assert choice("relative", name="loss_type", choices=("mse", "relative")) == "relative"


@pytest.mark.parametrize("value", ["yes", 1, 0, None])
def test_a_flag_is_true_or_false_and_nothing_like_it(value: object) -> None:
    assert flag(True, name="verbose") is True
    assert flag(False, name="verbose") is False
    with pytest.raises(InvalidHyperparameter, match=r"verbose is .*; it must be True or False"):
        flag(value, name="verbose")
