"""Starting weights from outside: named and shaped as the network's, finite, within float32. Torch-free."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0core import arrays
from l0core.errors import InvalidInput, NonfiniteInput, ShapeMismatch
from l0core.pruning.network import Plan, Shape

_POINTER = "/starting_weights"


def names_of(plan: Plan) -> dict[str, Shape]:
    """Give the name and shape of every weight and bias of a network."""
    return dict(_names(plan))


def checked(given: Mapping[str, ArrayLike], plan: Plan) -> dict[str, NDArray[np.float32]]:
    """Give the weights in float32, one array for each weight and bias of the network and no other."""
    wanted = names_of(plan)
    for name in wanted:
        if name not in given:
            raise InvalidInput(
                f"starting_weights has no {name}; needed are {', '.join(wanted)}, the layers counted from 0",
                pointer=_POINTER,
            )
    for name in given:
        if name not in wanted:
            raise InvalidInput(
                f"starting_weights has {str(name)[:64]!r}, which the network has not; it has {', '.join(wanted)}",
                pointer=_POINTER,
            )
    return {name: _array(given[name], name, shape) for name, shape in wanted.items()}


def _names(plan: Plan) -> Iterator[tuple[str, Shape]]:
    for place in plan.weighted:
        yield f"layers.{place.index}.weight", place.weight_shape
        yield f"layers.{place.index}.bias", (place.units,)


def _array(values: Any, name: str, shape: Shape) -> NDArray[np.float32]:
    array = arrays.as_array(values, name)
    if array.dtype.kind not in "fiu":
        raise InvalidInput(f"starting_weights: {name} holds {array.dtype}; it needs float32", pointer=_POINTER)
    if array.shape != shape:
        raise ShapeMismatch(
            f"starting_weights: {name} has shape {array.shape}; the network needs {shape}", pointer=_POINTER
        )
    with np.errstate(over="ignore"):
        single = np.asarray(array, dtype=np.float32) + np.float32(0)
    if not np.isfinite(single).all():
        raise NonfiniteInput(f"starting_weights: {name} holds numbers that float32 cannot hold", pointer=_POINTER)
    return single
