"""What schemathesis cannot know of a schema: bytes of our formats, problems that are some, jobs that end soon."""

import io
from typing import Any

import numpy as np
import schemathesis
import scipy.sparse as sp
from pydantic import ValidationError

from l0core.calibration.inputs import CalibrationInputs

_MATRIX = {"coo": {"shape": [2, 3], "row": [0, 0, 1], "col": [0, 1, 2], "data": [1.0, 2.0, 3.0]}}
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
    if len(str(body)) % 2 or not _is_allowed(body):
        return body
    right = {"kind": "calibration", "matrix": _MATRIX, "targets": [10.0, 20.0]}
    return right if len(str(body)) % 4 else {**body, **right}


def _is_allowed(body: Any) -> bool:
    if not isinstance(body, dict) or body.get("kind") != "calibration":
        return False
    try:
        CalibrationInputs.model_validate({name: body[name] for name in body.keys() - {"kind", "tags"}})
    except ValidationError:
        return False
    return True


def _job(body: Any) -> Any:
    """Let most of those that name their epochs end soon."""
    named = body.get("hyperparameters") if isinstance(body, dict) else None
    epochs = named.get("epochs") if isinstance(named, dict) else None
    if type(epochs) is int and 1 <= epochs <= 10_000_000 and len(str(body)) % 8:
        return {**body, "hyperparameters": {**body["hyperparameters"], "epochs": _EPOCHS}}
    return body


_CHANGES = {"POST /v1/uploads": _upload, "POST /v1/problems": _problem, "POST /v1/jobs": _job}


def _npz() -> bytes:
    buffer = io.BytesIO()
    sp.save_npz(buffer, sp.csr_array(np.eye(2, 3)))
    return buffer.getvalue()
