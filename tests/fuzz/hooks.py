"""What schemathesis cannot know of a schema: bytes of our formats, problems that are some, jobs that end soon."""

import io
from typing import Any

import numpy as np
import schemathesis
import scipy.sparse as sp

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
    """Let some be right but for what is beside matrix and targets, some right altogether."""
    if not isinstance(body, dict) or len(str(body)) % 2:
        return body
    right = {"kind": "calibration", "matrix": _MATRIX, "targets": [10.0, 20.0]}
    return right if len(str(body)) % 4 else {**body, **right}


def _job(body: Any) -> Any:
    """Let most end soon."""
    if isinstance(body, dict) and isinstance(body.get("hyperparameters"), dict) and len(str(body)) % 8:
        return {**body, "hyperparameters": {**body["hyperparameters"], "epochs": _EPOCHS}}
    return body


_CHANGES = {"POST /v1/uploads": _upload, "POST /v1/problems": _problem, "POST /v1/jobs": _job}


def _npz() -> bytes:
    buffer = io.BytesIO()
    sp.save_npz(buffer, sp.csr_array(np.eye(2, 3)))
    return buffer.getvalue()
