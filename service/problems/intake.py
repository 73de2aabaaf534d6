"""From a request to a problem: uploads resolved, arrays parsed in a process of their own, the content stored once."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError

from l0core import inputs as wire
from service.ids import new_id
from service.problems import repository, sandbox
from service.problems.limits import Limits
from service.problems.models import StoredProblem, Upload
from service.problems.requests import (
    AnswerRequest,
    BuildRequest,
    EstimateRequest,
    MatrixBody,
    MultiplyRequest,
    UploadedFile,
)
from service.problems.room import room
from service.resources import Resources
from service.storage.forgetting import forget
from service.storage.held import held_folder


def validate(system: Resources, tenant: str, kind: str, inputs: BaseModel) -> dict[str, Any]:
    """Give the report on a problem and store nothing."""
    with _local_uploads(system, tenant, inputs) as uploads:
        return sandbox.run(_build_request(system, kind, inputs, uploads, output=""))


def register(
    system: Resources, tenant: str, kind: str, inputs: BaseModel, tags: Mapping[str, str]
) -> tuple[StoredProblem, bool]:
    """Build a problem and keep it; gives (problem, whether it is new). The same content is stored once a tenant."""
    with room("the problem"), held_folder(system.store.scratch()) as folder:
        built = folder / "problem.safetensors"
        with _local_uploads(system, tenant, inputs) as uploads:
            report = sandbox.run(_build_request(system, kind, inputs, uploads, output=str(built)))
        return _keep(system, _row(tenant, kind, report, tags, size_bytes=built.stat().st_size), built)


def estimates(system: Resources, kind: str, problem_key: str, weights: Path) -> dict[str, Any]:
    """Give names and totals of a stored problem under the weights in a .npy."""
    with system.store.local(problem_key) as problem:
        limits = Limits.of(system.settings)
        return sandbox.run(EstimateRequest(kind=kind, problem=str(problem), weights=str(weights), limits=limits))


def multiply(system: Resources, tenant: str, inputs: MatrixBody, weights: Path) -> list[float]:
    """Give matrix times the weights in a .npy, in the matrix's row order."""
    with _local_uploads(system, tenant, inputs) as uploads:
        request = MultiplyRequest(
            inputs=inputs, weights=str(weights), uploads=uploads, limits=Limits.of(system.settings)
        )
        values: list[float] = sandbox.run(request)["values"]
    return values


def answer(system: Resources, tenant: str, kind: str, asked: BaseModel, files: Mapping[str, Path]) -> dict[str, Any]:
    """Give what a result says to a question; `files` are those of the result that its kind asks for."""
    with _local_uploads(system, tenant, asked) as uploads:
        request = AnswerRequest(
            kind=kind,
            inputs=asked.model_dump_json(),
            files={name: str(path) for name, path in files.items()},
            uploads=uploads,
            limits=Limits.of(system.settings),
        )
        return sandbox.run(request)


def _build_request(
    system: Resources, kind: str, inputs: BaseModel, uploads: dict[str, UploadedFile], *, output: str
) -> BuildRequest:
    limits = Limits.of(system.settings)
    return BuildRequest(kind=kind, inputs=inputs.model_dump_json(), uploads=uploads, limits=limits, output=output)


def _row(
    tenant: str, kind: str, report: Mapping[str, Any], tags: Mapping[str, str], *, size_bytes: int
) -> StoredProblem:
    problem_id = new_id("prb")
    return StoredProblem(
        id=problem_id,
        tenant=tenant,
        kind=kind,
        sha256=report["sha256"],
        sizes=report["sizes"],
        findings=report["findings"],
        tags=dict(tags),
        storage_key=f"problems/{problem_id}",
        size_bytes=size_bytes,
    )


def _keep(system: Resources, row: StoredProblem, built: Path) -> tuple[StoredProblem, bool]:
    held = _held(system, row)
    if held is not None:
        return held, False
    row.size_bytes = built.stat().st_size
    system.store.put(row.storage_key, built)
    try:
        with system.database.transaction() as session:
            session.add(row)
        return row, True
    except IntegrityError:  # another request was first with the same content
        forget(system.store, row.storage_key)
        held = _held(system, row)
        if held is None:
            raise
        return held, False


def _held(system: Resources, row: StoredProblem) -> StoredProblem | None:
    """Give the problem with this content; its findings, unlike those stored, are of the form it was sent in now."""
    with system.database.reading() as session:
        held = repository.same_problem(session, row.tenant, row.sha256)
    if held is not None:
        held.findings = row.findings
    return held


@contextmanager
def _local_uploads(system: Resources, tenant: str, inputs: BaseModel) -> Iterator[dict[str, UploadedFile]]:
    ids = list(_upload_ids(inputs))
    rows = _used(system, tenant, ids) if ids else {}
    with ExitStack() as stack:
        yield {upload_id: _file(stack, system, row) for upload_id, row in rows.items()}


def _used(system: Resources, tenant: str, ids: list[str]) -> dict[str, Upload]:
    with system.database.transaction() as session:
        return repository.use_uploads(session, tenant, ids)


def _file(stack: ExitStack, system: Resources, row: Upload) -> UploadedFile:
    path = stack.enter_context(system.store.local(row.storage_key))
    return UploadedFile(path=str(path), content_type=row.content_type)


def _upload_ids(inputs: BaseModel) -> Iterator[str]:
    """Give the id of every upload that a body names, however deep."""
    if isinstance(inputs, wire.Upload):
        yield inputs.upload_id
        return
    for name in type(inputs).model_fields:
        match getattr(inputs, name):
            case BaseModel() as nested:
                yield from _upload_ids(nested)
            case [BaseModel(), *_] as several:
                yield from (each for one in several for each in _upload_ids(one))
