"""What a job gives: its weights, those of its result or of a checkpoint, and the totals they come to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.kinds import KINDS
from service.errors import NotFound
from service.jobs import partial, traces
from service.jobs.models import Job, StoredArtifact
from service.jobs.values import WeightsFile
from service.problems import intake
from service.problems import repository as problems
from service.problems.trusted import open_vector
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
    with system.store.local(_weights_artifact(system, job).storage_key) as path:
        yield WeightsFile(path=path)


def _weights_artifact(system: Resources, job: Job) -> StoredArtifact:
    name = KINDS[job.kind].weights
    with system.database.reading() as session:
        found = traces.artifact(session, job.id, name) if name else None
    if found is None:
        raise NotFound(f"a {job.kind} job has no weights")
    return found


def dense_weights(file: WeightsFile) -> NDArray[np.float64]:
    """Give the weights of all units."""
    return np.array(open_vector(file.path))


def active_weights(file: WeightsFile) -> ActiveWeights:
    """Give the units that carry weight."""
    dense = open_vector(file.path)
    indices = np.flatnonzero(dense).astype(np.int64)
    return ActiveWeights(indices=indices, values=np.array(dense[indices]), n_units=int(dense.size))


def partial_predictions(system: Resources, job: Job, file: WeightsFile) -> dict[str, Any]:
    """Give name and total of every target of the job's problem under these weights."""
    with system.database.reading() as session:
        key = problems.storage_key(session, job.problem_id)
    return intake.estimates(system, job.kind, key, file.path)
