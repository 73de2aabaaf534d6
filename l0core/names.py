"""Names that a person gives to rows or columns: texts that can be kept, logged and shown."""

import unicodedata
from collections.abc import Sequence

from l0core.arrays import Axis
from l0core.errors import InvalidInput, ShapeMismatch

_NAME_LENGTH = 1_000


def checked(names: Sequence[str] | None, *, field: str, usual: str, axis: Axis) -> tuple[str, ...]:
    """Give one name an entry of `axis`; `usual` and a number where there are none.

    Raises ShapeMismatch for another number of names, InvalidInput for the first that is no text that can be kept.

    >>> checked(None, field="target_names", usual="target", axis=Axis(length=2, noun="rows of the matrix"))
    ('target_0', 'target_1')
    """
    if names is None:
        return tuple(f"{usual}_{i}" for i in range(axis.length))
    if len(names) != axis.length:
        raise ShapeMismatch(
            f"{field} has {len(names)} names; there are {axis.length} {axis.noun}, one name each", pointer=f"/{field}"
        )
    for i, name in enumerate(names):
        _check(name, f"{field}[{i}]", f"/{field}/{i}")
    return tuple(names)


def _check(name: object, place: str, pointer: str) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_LENGTH:
        raise InvalidInput(f"{place} must be a text of 1 to {_NAME_LENGTH} characters", pointer=pointer)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise InvalidInput(f"{place} holds a control character or half a surrogate", pointer=pointer)
