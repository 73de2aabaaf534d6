"""The fields of a body: arrays go up first, or inline where they are small; what is no array stays as it is.

A file goes by its `Path`, an upload by its id. What a dict or a list of dicts holds is looked at in turn.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from service.client.calls import JsonObject, Steps
from service.client.uploads import upload

MOST_INLINE = 1_000


def sent_fields(fields: Mapping[str, Any]) -> Steps[JsonObject]:
    """Give fields as a body has them, without those that are None."""
    body: JsonObject = {}
    for name, value in fields.items():
        if value is not None:
            body[name] = yield from _sent(value)
    return body


def _sent(value: Any) -> Steps[Any]:
    if isinstance(value, Path) or sp.issparse(value):
        return (yield from uploaded(value))
    if isinstance(value, str):
        return {"upload_id": value} if value.startswith("upl_") else value
    if isinstance(value, Mapping):
        return (yield from sent_fields(value))
    if isinstance(value, Sequence) and any(isinstance(each, Mapping) for each in value):
        return [*(yield from sent_fields({str(place): each for place, each in enumerate(value)})).values()]
    return (yield from _sent_array(np.asarray(value))) if np.ndim(value) else value


def _sent_array(array: NDArray[Any]) -> Steps[Any]:
    if array.ndim == 1 and array.size <= MOST_INLINE:
        return array.tolist()
    return (yield from uploaded(array))


def uploaded(value: object) -> Steps[JsonObject]:
    """Send an array, unless it is the id of an upload; gives it as a body names it."""
    if isinstance(value, str) and value.startswith("upl_"):
        return {"upload_id": value}
    return {"upload_id": (yield from upload(value))}
