"""Vectors from outside: one dimension, the right length, finite numbers; a refusal names the field and the value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0core.errors import InvalidInput, NonfiniteInput, ShapeMismatch

FloatArray = NDArray[np.float64]
Rule = Callable[[FloatArray], NDArray[np.bool_]]

_TAKEN = "fd" + np.typecodes["AllInteger"]  # numpy's codes of float32, float64 and integers


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a vector runs along: so many of `noun`, one number for each."""

    length: int
    noun: str


def vector(values: ArrayLike, *, name: str, axis: Axis, rule: Rule | None = None, need: str = "") -> FloatArray:
    """Give `values` as float64, having checked type, length, finiteness and that `rule` holds for every number.

    `need` says the rule in words: "must be 0 or more".

    >>> vector([1, 2], name="targets", axis=Axis(length=2, noun="rows of the matrix")).tolist()
    [1.0, 2.0]
    """
    array = _numeric(values, name)
    _check_length(array, name, axis)
    checked = array.astype(np.float64)
    _check_finite(checked, name)
    checked += 0.0  # -0.0 becomes 0.0: the same number, the same bytes
    if rule is not None:
        _check_rule(checked, rule, name, need)
    return checked


def integers(values: ArrayLike, *, name: str, axis: Axis) -> NDArray[np.int64]:
    """Give `values` as int64; a fractional number is refused, never rounded."""
    array = vector(values, name=name, axis=axis)
    _check_rule(array, lambda v: (v == np.round(v)) & (np.abs(v) < 2**53), name, "must be a whole number")
    return array.astype(np.int64)


def booleans(values: ArrayLike, *, name: str, axis: Axis) -> NDArray[np.bool_]:
    """Give `values` as booleans; 0 and 1 count as such."""
    array = as_array(values, name)
    numbers = array.astype(np.float64) if array.dtype.kind == "b" else array
    checked = vector(numbers, name=name, axis=axis)
    _check_rule(checked, lambda v: (v == 0) | (v == 1), name, "must be true or false")
    return checked.astype(np.bool_)


def as_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Give `values` as an array of whatever they are; lists of uneven length are refused."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InvalidInput(
            f"{name} cannot be read as an array ({error}); send one list of numbers", pointer=f"/{name}"
        ) from error


def _numeric(values: ArrayLike, name: str) -> NDArray[Any]:
    array = as_array(values, name)
    if array.dtype.char not in _TAKEN:
        raise InvalidInput(
            f"{name} holds {array.dtype}; it needs numbers (float32, float64 or integers)", pointer=f"/{name}"
        )
    return array


def _check_length(array: NDArray[Any], name: str, axis: Axis) -> None:
    if array.shape != (axis.length,):
        raise ShapeMismatch(
            f"{name} has shape {array.shape}; it needs ({axis.length},), "
            f"one number for each of the {axis.length} {axis.noun}",
            pointer=f"/{name}",
        )


def _check_finite(array: FloatArray, name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise NonfiniteInput(
            f"{name}[{bad[0]}] is {array[bad[0]]}; all numbers must be finite ({bad.size} of {array.size} are not)",
            pointer=f"/{name}/{bad[0]}",
        )


def _check_rule(array: FloatArray, rule: Rule, name: str, need: str) -> None:
    bad = np.flatnonzero(~rule(array))
    if bad.size:
        raise InvalidInput(
            f"{name}[{bad[0]}] is {array[bad[0]]:g}; it {need} ({bad.size} such values)", pointer=f"/{name}/{bad[0]}"
        )
