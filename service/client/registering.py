"""The steps that register a problem: its arrays go up first, then what they mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from service.client.calls import Call, JsonObject, Steps, as_object, ask
from service.client.fields import MOST_INLINE, sent_fields, uploaded
from service.client.problem import Array, Problem

_VECTORS = ("initial_weights", "target_weights", "target_scales", "target_tolerances")
_WHOLE = ("target_groups", "holdout")


def register(problem: Problem, *, validate_only: bool = False) -> Steps[JsonObject]:
    """Register a calibration problem; gives its id, sizes and findings."""
    return (yield from _registered((yield from _body(problem)), validate_only=validate_only))


def register_kind(
    kind: str, *, tags: Mapping[str, str] | None = None, validate_only: bool = False, **inputs: Any
) -> Steps[JsonObject]:
    """Register a problem of any kind by its fields; gives its id, sizes and findings.

    `schema(kind)["inputs"]` tells the fields. An array may be numpy's, scipy's, a list, the `Path` of a file, or the
    id that `upload` gave.
    """
    body = {"kind": kind, **(yield from sent_fields(inputs))}
    labels = {} if tags is None else {"tags": dict(tags)}
    return (yield from _registered(body | labels, validate_only=validate_only))


def _registered(body: JsonObject, *, validate_only: bool) -> Steps[JsonObject]:
    query = {"validate_only": "true"} if validate_only else {}
    return (yield from ask(Call(method="POST", path="/v1/problems", read=as_object, json=body, query=query)))


def _body(problem: Problem) -> Steps[JsonObject]:
    body: JsonObject = {"kind": "calibration", "matrix": (yield from uploaded(problem.matrix))}
    body["targets"] = yield from _numbers(problem.targets)
    for name in _VECTORS:
        if getattr(problem, name) is not None:
            body[name] = yield from _numbers(getattr(problem, name))
    for name in _WHOLE:
        if getattr(problem, name) is not None:
            body[name] = yield from _inline_or_uploaded(getattr(problem, name))
    if problem.protected_units is not None:
        body["protected_units"] = yield from uploaded(_array(problem.protected_units, None))
    if problem.weight_bounds is not None:
        body["weight_bounds"] = yield from _bounds(problem.weight_bounds)
    if problem.target_names is not None:
        body["target_names"] = yield from _inline_or_uploaded([str(name) for name in problem.target_names])
    return body | ({} if problem.tags is None else {"tags": dict(problem.tags)})


def _bounds(given: Mapping[str, Array]) -> Steps[JsonObject]:
    bounds: JsonObject = {}
    for side, bound in given.items():
        is_one = not isinstance(bound, str | Path) and np.ndim(bound) == 0
        bounds[side] = float(np.asarray(bound)) if is_one else (yield from _numbers(bound))
    return bounds


def _numbers(values: Array) -> Steps[JsonObject]:
    return (yield from uploaded(_array(values, np.float64)))


def _inline_or_uploaded(values: Any) -> Steps[object]:
    array = _array(values, None)
    if isinstance(array, np.ndarray) and array.size <= MOST_INLINE:
        return array.tolist()
    return (yield from uploaded(array))


def _array(values: Any, dtype: type[np.float64] | None) -> object:
    """Give an array of what is none yet; a path, or the id of an upload, stays what it is."""
    return values if isinstance(values, str | Path) else np.asarray(values, dtype=dtype)
