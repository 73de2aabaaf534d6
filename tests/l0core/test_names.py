"""Names of rows and columns: one each, texts that can be kept."""

import pytest

from l0core.arrays import Axis
from l0core.errors import InvalidInput, L0Error, ShapeMismatch
from l0core.names import checked

TWO = Axis(length=2, noun="rows of the matrix")


def names(*given: object) -> tuple[str, ...]:
    return checked(given, field="target_names", usual="target", axis=TWO)  # type: ignore[arg-type]


def test_names_come_back_as_they_are() -> None:
    assert names("größe", "x" * 1000) == ("größe", "x" * 1000)


@pytest.mark.parametrize(
    ("given", "error", "pointer"),
    [
        (("a",), ShapeMismatch, "/target_names"),
        (("a", "b", "c"), ShapeMismatch, "/target_names"),
        (("a", ""), InvalidInput, "/target_names/1"),
        (("a", "x" * 1001), InvalidInput, "/target_names/1"),
        ((7, "b"), InvalidInput, "/target_names/0"),
        (("a\0", "b"), InvalidInput, "/target_names/0"),
        (("a", "\ud800"), InvalidInput, "/target_names/1"),
    ],
)
def test_what_is_no_name_is_refused_at_its_place(given: tuple[object, ...], error: type[L0Error], pointer: str) -> None:
    with pytest.raises(error) as refused:
        names(*given)
    assert refused.value.pointer == pointer
