"""What a succeeded job has: its weights and the totals they give."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l0core.kinds import KINDS
from service.errors import NotFound
from service.jobs import traces
from service.jobs.models import Job, StoredArtifact
from service.problems.trusted import open_vector
from service.resources import Resources


@dataclass(frozen=True, kw_only=True)
class ActiveWeights:
    """The units with a positive weight, in order, and how many units there are in all."""

    indices: NDArray[np.int64]
    values: NDArray[np.float64]
    n_units: int


def weights_artifact(system: Resources, job: Job) -> StoredArtifact:
    """Give the artifact that holds the job's weights; NotFound for a kind without."""
    name = KINDS[job.kind].weights
    with system.database.reading() as session:
        found = traces.artifact(session, job.id, name) if name else None
    if found is None:
        raise NotFound(f"a {job.kind} job has no weights")
    return found


@contextmanager
def dense_weights(system: Resources, job: Job) -> Iterator[NDArray[np.float64]]:
    """Give the weights of all units, mapped from the store."""
    with system.store.local(weights_artifact(system, job).storage_key) as path:
        yield open_vector(path)


def active_weights(system: Resources, job: Job) -> ActiveWeights:
    """Give the units that carry weight."""
    with dense_weights(system, job) as dense:
        indices = np.flatnonzero(dense).astype(np.int64)
        return ActiveWeights(indices=indices, values=np.array(dense[indices]), n_units=int(dense.size))
