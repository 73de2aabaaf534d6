"""What a problem says about single units: bounds of their weights, and units that are always kept.

Checked here, once; `CalibrationProblem` holds the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0core import arrays
from l0core.arrays import Axis, FloatArray
from l0core.errors import InvalidInput, L0Error

_SIDES = ("lower", "upper")
_SIDES_NEEDED = "it takes 'lower' and 'upper', each one number or one for each unit"


@dataclass(frozen=True, kw_only=True)
class WeightBounds:
    """Absolute bounds of N weights; a side that bounds nothing (all 0, all infinite) is None."""

    lower: FloatArray | None = None
    upper: FloatArray | None = None


def weight_bounds(given: Mapping[str, ArrayLike | None] | None, n_units: int) -> WeightBounds:
    """Give the bounds of every unit; one number holds for all of them.

    An infinite upper bound is none. Raises InvalidInput with the first unit at fault.

    >>> weight_bounds({"upper": 5}, 2).upper
    array([5., 5.])
    """
    sides = _checked_sides({} if given is None else given)
    lower, upper = (_optional_side(sides.get(side), side, n_units) for side in _SIDES)
    _check_order(lower, upper)
    return WeightBounds(
        lower=None if lower is None or not lower.any() else lower,
        upper=None if upper is None or np.isposinf(upper).all() else upper,
    )


def protected_units(given: ArrayLike | None, n_units: int, upper: FloatArray | None) -> NDArray[np.int64]:
    """Give the indices of the units that are always kept, in order; an index out of range or given twice is refused.

    >>> protected_units([4, 1], 5, None)
    array([1, 4])
    """
    if given is None:
        return np.zeros(0, dtype=np.int64)
    indices = arrays.as_array(given, "protected_units")
    units = arrays.integers(indices, name="protected_units", axis=Axis(length=indices.size, noun="units"))
    _refuse_first((units < 0) | (units >= n_units), units, f"it must be from 0 to {n_units - 1}")
    order = np.argsort(units, kind="stable")
    again = np.zeros(units.size, dtype=np.bool_)
    again[order[1:]] = np.diff(units[order]) == 0
    _refuse_first(again, units, "it stands there already; name each unit once")
    if upper is not None:
        _refuse_first(upper[units] == 0, units, "the unit's upper weight bound is 0; raise it or leave the unit out")
    return units[order]


def _checked_sides(given: Mapping[str, ArrayLike | None]) -> Mapping[str, ArrayLike | None]:
    if not isinstance(given, Mapping):
        raise InvalidInput(f"weight_bounds is {given!r:.80}; {_SIDES_NEEDED}", pointer="/weight_bounds")
    for side in given:
        if side not in _SIDES:
            raise InvalidInput(f"weight_bounds has '{side}'; {_SIDES_NEEDED}", pointer=f"/weight_bounds/{side}")
    return given


def _optional_side(values: ArrayLike | None, side: str, n_units: int) -> FloatArray | None:
    return None if values is None else _side(values, side, n_units)


def _side(values: ArrayLike, side: str, n_units: int) -> FloatArray:
    """Give one side's numbers; an upper one may be infinite."""
    name = f"weight_bounds/{side}"
    array = arrays.as_array(values, name)
    if array.ndim == 0:
        return np.full(n_units, _one_number(array, name, side))
    return _numbers(array, name, side, Axis(length=n_units, noun="columns of the matrix"))


def _one_number(array: NDArray[Any], name: str, side: str) -> float:
    try:
        return float(_numbers(array.reshape(1), name, side, Axis(length=1, noun="number for all units"))[0])
    except L0Error as error:
        message = error.message.replace(f"{name}[0]", name)
        raise type(error)(message, pointer=f"/{name}") from None


def _numbers(array: NDArray[Any], name: str, side: str, axis: Axis) -> FloatArray:
    none = np.isposinf(array) if side == "upper" and array.dtype.kind == "f" else np.zeros(array.shape, dtype=np.bool_)
    finite = np.where(none, 0, array) if none.any() else array
    numbers = arrays.vector(finite, name=name, axis=axis, rule=lambda v: v >= 0, need="must be 0 or more")
    numbers[none] = np.inf
    return numbers


def _check_order(lower: FloatArray | None, upper: FloatArray | None) -> None:
    if lower is None or upper is None:
        return
    crossed = np.flatnonzero(lower > upper)
    if crossed.size:
        at = crossed[0]
        raise InvalidInput(
            f"weight_bounds/upper[{at}] is {upper[at]:g}, below the lower bound {lower[at]:g} of the same unit "
            f"({crossed.size} such units)",
            pointer=f"/weight_bounds/upper/{at}",
        )


def _refuse_first(bad: NDArray[np.bool_], units: NDArray[np.int64], reason: str) -> None:
    at = np.flatnonzero(bad)
    if at.size:
        raise InvalidInput(
            f"protected_units[{at[0]}] is {units[at[0]]}; {reason} ({at.size} such entries)",
            pointer=f"/protected_units/{at[0]}",
        )
