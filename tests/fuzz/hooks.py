"""What schemathesis cannot know of a schema: bytes of our formats, problems that are some, jobs that end soon."""

import io
from typing import Any

import numpy as np
import schemathesis
import scipy.sparse as sp
from pydantic import ValidationError

from l0core.kind import Example
from l0core.kinds import KINDS

_EPOCHS = 20


@schemathesis.serializer(
    "application/x-npz",
    "application/x-npy",
    "text/x-matrix-market",
    "application/vnd.apache.parquet",
    "application/x-safetensors",
)
def as_bytes(_context: Any, value: Any) -> bytes:
    """Send what was made up as it is; it is hardly ever a file."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Let some bodies mean something."""
    change = _CHANGES.get(context.operation.label)
    return body if change is None else change(body)


def _upload(body: Any) -> Any:
    return _npz() if len(str(body)) % 3 == 0 else body


def _problem(body: Any) -> Any:
    """Let some of those that the schema allows be right: what is meant to be wrong stays so."""
    example = None if len(str(body)) % 2 else _example_of(body)
    if example is None:
        return body
    right = {"kind": body["kind"], **example.problem}
    return right if len(str(body)) % 4 else {**body, **right}


def _example_of(body: Any) -> Example | None:
    """Give a right problem of the kind that is meant, where the body is one that its schema allows."""
    meant = body.get("kind") if isinstance(body, dict) else None
    kind = KINDS.get(meant) if isinstance(meant, str) else None
    if kind is None:
        return None
    try:
        kind.inputs.model_validate({name: body[name] for name in body.keys() - {"kind", "tags"}})
    except ValidationError:
        return None
    return kind.example


def _job(body: Any) -> Any:
    """Let most of those that name their epochs end soon."""
    named = body.get("hyperparameters") if isinstance(body, dict) else None
    if not isinstance(named, dict) or not len(str(body)) % 8:
        return body
    return {**body, "hyperparameters": {name: _short(name, value) for name, value in named.items()}}


def _short(name: str, value: Any) -> Any:
    is_right = name.endswith("epochs") and type(value) is int and 1 <= value <= 1_000_000
    return min(value, _EPOCHS) if is_right else value


_CHANGES = {"POST /v1/uploads": _upload, "POST /v1/problems": _problem, "POST /v1/jobs": _job}


def _npz() -> bytes:
    buffer = io.BytesIO()
    sp.save_npz(buffer, sp.csr_array(np.eye(2, 3)))
    return buffer.getvalue()
