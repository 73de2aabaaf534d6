"""What a job gives: weights, of its result or of a checkpoint, the totals they come to, tables, and answers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from l0core.kind import Question, Table
from l0core.kinds import KINDS
from service.errors import NotFound
from service.jobs import partial, traces
from service.jobs.models import Job, StoredArtifact
from service.jobs.values import RecordsFile, WeightsFile
from service.problems import intake
from service.problems import repository as problems
from service.problems.trusted import open_records, open_vector
from service.resources import Resources


@dataclass(frozen=True, kw_only=True)
class ActiveWeights:
    """The units with a positive weight, in order, and how many units there are in all."""

    indices: NDArray[np.int64]
    values: NDArray[np.float64]
    n_units: int


@contextmanager
def weights_file(system: Resources, job: Job, checkpoint: str | None = None) -> Iterator[WeightsFile]:
    """Give the weights of all units, of a succeeded job's result or (`checkpoint`) of any job's checkpoint."""
    if checkpoint is not None:
        with partial.weights_file(system, job, checkpoint) as file:
            yield file
        return
    artifact = _weights_artifact(system, job)
    with system.store.local(artifact.storage_key) as path:
        yield WeightsFile(path=path, version=artifact.sha256)


def _weights_artifact(system: Resources, job: Job) -> StoredArtifact:
    name = KINDS[job.kind].weights
    found = None if name is None else _artifact(system, job, name)
    if found is None:
        raise NotFound(f"job '{job.id}' has no weights: a {job.kind} job as it was asked for gives none")
    return found


def _artifact(system: Resources, job: Job, name: str) -> StoredArtifact | None:
    with system.database.reading() as session:
        return traces.artifact(session, job.id, name)


def table_of(job: Job, name: str) -> Table:
    """Give what a job's kind declares of its table `name`; NotFound where it has none."""
    tables = KINDS[job.kind].tables
    if name not in tables:
        has = f"there are {', '.join(tables)}" if tables else "it has no tables"
        raise NotFound(f"a {job.kind} job has no {name}; {has}")
    return tables[name]


@contextmanager
def records_file(system: Resources, job: Job, table: Table) -> Iterator[RecordsFile]:
    """Give a table of a succeeded job's result; NotFound where this one has left none."""
    artifact = _artifact(system, job, table.artifact)
    if artifact is None:
        raise NotFound(f"job '{job.id}' has left no {table.artifact}: a {job.kind} job as it was asked for gives none")
    with system.store.local(artifact.storage_key) as path:
        yield RecordsFile(path=path, version=artifact.sha256)


def records(file: RecordsFile) -> NDArray[np.void]:
    """Give the rows of a table, of which none is read before it is used; only while the file is there."""
    return open_records(file.path)


def dense_weights(file: WeightsFile) -> NDArray[np.float64]:
    """Give the weights of all units, of which none is read before it is used; only while the file is there."""
    return open_vector(file.path)


def active_weights(file: WeightsFile) -> ActiveWeights:
    """Give the units that carry weight."""
    dense = open_vector(file.path)
    indices = np.flatnonzero(dense).astype(np.int64)
    return ActiveWeights(indices=indices, values=np.array(dense[indices]), n_units=int(dense.size))


def answer(system: Resources, tenant: str, job: Job, question: Question, asked: BaseModel) -> dict[str, Any]:
    """Give what a succeeded job's result says about new data."""
    with ExitStack() as stack:
        files = {name: stack.enter_context(_local_artifact(system, job, name)) for name in question.artifacts}
        return intake.answer(system, tenant, job.kind, asked, files)


def _local_artifact(system: Resources, job: Job, name: str) -> AbstractContextManager[Path]:
    artifact = _artifact(system, job, name)
    if artifact is None:
        raise NotFound(f"job '{job.id}' has left no {name}, which its answers need")
    return system.store.local(artifact.storage_key)


def predictions_of_problem(system: Resources, tenant: str, problem_id: str, file: WeightsFile) -> dict[str, Any]:
    """Give name and total of every target of a tenant's problem over the same units under these weights."""
    with system.database.reading() as session:
        problem = problems.problem_of(session, tenant, problem_id)
    if problem is None:
        raise NotFound(f"there is no problem '{problem_id}'")
    if KINDS[problem.kind].weights is None:
        raise NotFound(f"a {problem.kind} problem has no totals under weights")
    return intake.estimates(system, problem.kind, problem.storage_key, file.path)


def partial_predictions(system: Resources, job: Job, file: WeightsFile) -> dict[str, Any]:
    """Give name and total of every target of the job's problem under these weights."""
    with system.database.reading() as session:
        key = problems.storage_key(session, job.problem_id)
    return intake.estimates(system, job.kind, key, file.path)
