"""What the process that parses untrusted bytes does: one request, one reply, limits on all.

It builds a problem of any kind, multiplies a matrix (one that was sent, or a problem's) with weights, or has a kind
answer a question to a result. It is forked by `forks` and knows no database.
"""

import json
import resource
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import BaseModel, TypeAdapter
from safetensors import SafetensorError

from l0core import matrices
from l0core.arrays import FloatArray
from l0core.errors import InvalidInput, L0Error, NonfiniteInput, ShapeMismatch
from l0core.findings import in_short
from l0core.inputs import (
    CooParts,
    CsrParts,
    Described,
    InlineCoo,
    InlineCsr,
    MatrixUpload,
    OneRowEach,
    RowsUpload,
    TensorsUpload,
    TextsUpload,
    Upload,
)
from l0core.kind import WeightedProblem
from l0core.kinds import KINDS
from service.errors import StorageFull
from service.problems import formats, trusted
from service.problems.content_types import SAFETENSORS
from service.problems.formats import safetensors as tensors
from service.problems.limits import Limits
from service.problems.requests import (
    AnswerRequest,
    BuildRequest,
    EstimateRequest,
    MultiplyRequest,
    ParseRequest,
    UploadedFile,
)
from service.problems.room import room

_REQUESTS: TypeAdapter[ParseRequest] = TypeAdapter(ParseRequest)


def answer(asked: bytes) -> bytes:
    """Give the reply to a request; its limits are this process's from here on."""
    request = _REQUESTS.validate_json(asked)
    _limit(request.limits)
    try:
        return json.dumps(_answer(request), allow_nan=False).encode()
    except ValueError:
        return json.dumps(_error("nonfinite_input", "the answer holds a number beyond the largest float")).encode()


def _answer(request: ParseRequest) -> dict[str, Any]:
    try:
        return {"ok": _done(request)}
    except L0Error as error:
        return _error(error.code, error.message, error.pointer)
    except StorageFull as error:
        return _error(error.code, error.detail)
    except MemoryError:
        return _error("invalid_input", f"reading it takes more than {request.limits.memory_bytes} bytes")
    except Exception as error:  # noqa: BLE001 - strange bytes find errors that nobody has listed
        traceback.print_exc()
        return _error("invalid_input", f"the data cannot be used ({type(error).__name__})")


def _done(request: ParseRequest) -> dict[str, Any]:
    match request:
        case BuildRequest():
            return built(request)
        case MultiplyRequest():
            return _multiply(request)
        case EstimateRequest():
            return _estimate(request)
        case AnswerRequest():
            return _said(request)


def _error(code: str, message: str, pointer: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "pointer": pointer}}


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    seconds = int(limits.seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def built(request: BuildRequest) -> dict[str, Any]:
    """Build a problem, write it where that is asked for, and give the report on it."""
    kind = KINDS[request.kind]
    inputs = kind.inputs.model_validate_json(request.inputs)
    reader = _Reader(request.uploads, request.limits)
    problem = kind.problem_type().build(**reader.resolve(inputs))
    if request.output:
        _save(problem, Path(request.output))
    findings = [finding.model_dump() for finding in in_short(problem.findings)]
    return {"sha256": problem.sha256, "sizes": problem.sizes, "findings": findings}


def _save(problem: Any, path: Path) -> None:
    """Write a problem. safetensors knows no errno: of what it cannot write the disk is the only cause."""
    with room("the problem"):
        try:
            problem.save(path)
        except SafetensorError as error:
            raise StorageFull(str(error)) from error


def _multiply(request: MultiplyRequest) -> dict[str, Any]:
    raw = _Reader(request.uploads, request.limits).value("matrix", request.inputs.matrix)
    matrix, _ = matrices.canonical(raw)
    weights = trusted.open_vector(Path(request.weights))
    if matrix.shape[1] != weights.size:
        raise ShapeMismatch(
            f"the matrix has {matrix.shape[1]} columns, the job's problem {weights.size} units", pointer="/matrix"
        )
    return {"values": _finite(np.asarray(matrix @ weights))}


def _estimate(request: EstimateRequest) -> dict[str, Any]:
    problem = cast("WeightedProblem", KINDS[request.kind].problem_type().load(Path(request.problem)))
    weights = trusted.open_vector(Path(request.weights))
    if problem.n_units != weights.size:
        raise ShapeMismatch(
            f"the problem has {problem.n_units} units, the job's problem {weights.size}", pointer="/problem_id"
        )
    totals = problem.estimates(weights)
    return {"names": list(problem.names), "values": _finite(totals)}


def _said(request: AnswerRequest) -> dict[str, Any]:
    question = KINDS[request.kind].question
    if question is None:
        raise InvalidInput(f"a {request.kind} job answers no questions")
    inputs = question.inputs.model_validate_json(request.inputs)
    asked = _Reader(request.uploads, request.limits).resolve(inputs)
    return question.answerer()(asked, {name: Path(path) for name, path in request.files.items()})


def _finite(totals: FloatArray) -> list[float]:
    bad = np.flatnonzero(~np.isfinite(totals))
    if bad.size:
        raise NonfiniteInput(f"the total of row {bad[0]} is beyond the largest float", pointer="/matrix")
    values: list[float] = totals.tolist()
    return values


class _Reader:
    """Turns the wire's values into arrays."""

    def __init__(self, uploads: dict[str, UploadedFile], limits: Limits) -> None:
        self._uploads, self._limits = uploads, limits

    def resolve(self, inputs: BaseModel) -> dict[str, Any]:
        """Give every field of a kind's inputs with its arrays read; a matrix after what tells its rows."""
        told = {name: of for name in _fields(inputs) if (of := _rows_of(inputs, name))}
        values: dict[str, Any] = {}
        for name in sorted(_fields(inputs), key=told.__contains__):
            values[name] = self.value(name, getattr(inputs, name), rows=_length(values.get(told.get(name, ""))))
        return values

    def value(self, name: str, given: Any, *, rows: int | None = None) -> Any:
        """Give one field's value; whatever goes wrong names the field. `rows` are a matrix's where they are known."""
        try:
            return self._read(name, given, rows)
        except (L0Error, MemoryError):
            raise
        except Exception as error:
            traceback.print_exc()
            raise InvalidInput(f"{name} cannot be read ({type(error).__name__})", pointer=f"/{name}") from error

    def _read(self, name: str, given: Any, rows: int | None) -> Any:
        match given:
            case Upload():
                return self._uploaded(given, name, rows)
            case InlineCsr(csr=parts):
                return self._csr(parts, name)
            case InlineCoo(coo=parts):
                return self._coo(parts, name)
            case list():
                return self._listed(given, name)
            case BaseModel() if not isinstance(given, Described):
                return {field: self.value(f"{name}/{field}", getattr(given, field)) for field in _fields(given)}
            case _:
                return given

    def _listed(self, given: list[Any], name: str) -> Any:
        if given and isinstance(given[0], BaseModel):
            return [self.value(f"{name}/{place}", each) for place, each in enumerate(given)]
        return _array(given, name)

    def _uploaded(self, given: Upload, name: str, rows: int | None) -> Any:
        file = self._uploads[given.upload_id]
        path, pointer = Path(file.path), f"/{name}"
        if isinstance(given, TensorsUpload):
            return self._tensors(path, file.content_type, pointer)
        if isinstance(given, MatrixUpload | RowsUpload):
            return formats.read_matrix(path, file.content_type, self._limits, pointer, rows=rows)
        read = formats.read_texts if isinstance(given, TextsUpload) else formats.read_vector
        return read(path, file.content_type, self._limits, pointer)

    def _tensors(self, path: Path, content_type: str, pointer: str) -> dict[str, Any]:
        if content_type != SAFETENSORS:
            raise InvalidInput(
                f"an upload of type {content_type} names no tensors; send {SAFETENSORS}", pointer=pointer
            )
        name = f"the upload of {pointer.lstrip('/')}"
        with path.open("rb") as stream:
            header = tensors.read_header(stream, path.stat().st_size, self._limits, name=name, pointer=pointer)
            return {key: tensors.read_tensor(stream, header, key) for key in header.tensors}

    def _csr(self, parts: CsrParts, name: str) -> matrices.Csr:
        shape = (parts.shape[0], parts.shape[1])
        self._limits.check_matrix(shape, len(parts.data), f"/{name}")
        indptr, indices = _integers(parts.indptr), _integers(parts.indices)
        return matrices.Csr(shape=shape, indptr=indptr, indices=indices, data=np.array(parts.data, dtype=np.float64))

    def _coo(self, parts: CooParts, name: str) -> matrices.Coo:
        shape = (parts.shape[0], parts.shape[1])
        self._limits.check_matrix(shape, len(parts.data), f"/{name}")
        row, col = _integers(parts.row), _integers(parts.col)
        return matrices.Coo(shape=shape, row=row, col=col, data=np.array(parts.data, dtype=np.float64))


def _fields(model: BaseModel) -> Iterable[str]:
    return type(model).model_fields


def _rows_of(inputs: BaseModel, name: str) -> str | None:
    """Give the field that has one entry for each row of the matrix `name`."""
    marks = type(inputs).model_fields[name].metadata
    return next((mark.of for mark in marks if isinstance(mark, OneRowEach)), None)


def _length(values: Any) -> int | None:
    return int(np.shape(values)[0]) if np.ndim(values) else None


def _integers(values: list[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def _array(values: list[Any], name: str) -> Any:
    if values and isinstance(values[0], str):
        return values
    try:
        return np.array(values, dtype=np.float64)
    except ValueError:  # lists of different lengths: the problem has the words for them
        return values
    except OverflowError:
        raise InvalidInput(f"{name} holds a whole number too large for a float", pointer=f"/{name}") from None
