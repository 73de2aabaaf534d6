"""Single arguments from outside: a number in its range, a whole number, one of some choices.

A refusal is an `InvalidHyperparameter` (also a `ValueError`) that names the argument, its value and what it must be.
"""

import math
import operator
from collections.abc import Collection
from dataclasses import dataclass

from l0core.errors import InvalidHyperparameter


@dataclass(frozen=True, kw_only=True)
class Range:
    """The finite numbers between two ends; an end that is not given is open to infinity."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Say whether `value` is finite and inside."""
        return (isinstance(value, int) or math.isfinite(value)) and all(
            bound is None or compare(value, bound)
            for bound, compare in (
                (self.above, operator.gt),
                (self.at_least, operator.ge),
                (self.below, operator.lt),
                (self.at_most, operator.le),
            )
        )

    def __str__(self) -> str:
        ends = {"above": self.above, "at least": self.at_least, "below": self.below, "at most": self.at_most}
        return " and ".join(f"{word} {bound:g}" for word, bound in ends.items() if bound is not None) or "finite"


POSITIVE = Range(above=0)
NOT_NEGATIVE = Range(at_least=0)
PROBABILITY = Range(above=0, below=1)
FRACTION = Range(at_least=0, at_most=1)


def number(value: object, *, name: str, within: Range) -> float:
    """Give `value` as a float inside the range.

    >>> number(0.5, name="temperature", within=POSITIVE)
    0.5
    >>> number(0, name="temperature", within=POSITIVE)
    Traceback (most recent call last):
    l0core.errors.InvalidHyperparameter: temperature is 0; it must be a number above 0
    """
    converted = _float(value, name)
    if not within.holds(converted):
        raise _refusal(name, value, f"a number {within}")
    return converted


def whole(value: object, *, name: str, at_least: int = 1, at_most: int | None = None) -> int:
    """Give `value` as an integer; a fraction or a boolean is refused, never rounded.

    >>> whole(2.5, name="epochs")
    Traceback (most recent call last):
    l0core.errors.InvalidHyperparameter: epochs is 2.5; it must be a whole number at least 1
    """
    within = Range(at_least=at_least, at_most=at_most)
    try:
        converted = operator.index(value)  # type: ignore[arg-type]  # what is no integer raises TypeError
    except TypeError as error:
        raise _refusal(name, value, f"a whole number {within}") from error
    if isinstance(value, bool) or not within.holds(converted):
        raise _refusal(name, value, f"a whole number {within}")
    return converted


def choice(value: object, *, name: str, choices: Collection[str]) -> str:
    """Give `value` if it is one of the choices.

    >>> choice("huber", name="loss_type", choices=("mse", "relative"))
    Traceback (most recent call last):
    l0core.errors.InvalidHyperparameter: loss_type is 'huber'; it must be one of 'mse', 'relative'
    """
    if not isinstance(value, str) or value not in choices:
        raise _refusal(name, value, f"one of {', '.join(map(repr, choices))}")
    return value


def flag(value: object, *, name: str) -> bool:
    """Give `value` if it is True or False."""
    if not isinstance(value, bool):
        raise _refusal(name, value, "True or False")
    return value


def _float(value: object, name: str) -> float:
    if isinstance(value, bool | str | bytes | bytearray):
        raise _refusal(name, value, "a number")
    try:
        return float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError, OverflowError) as error:
        raise _refusal(name, value, "a number") from error


def _refusal(name: str, value: object, need: str) -> InvalidHyperparameter:
    return InvalidHyperparameter(f"{name} is {value!r}; it must be {need}", pointer=f"/{name}")
