"""What a job gives that has no result, or none yet: the weights in its checkpoints.

A checkpoint's bytes are copied while they are hashed, and what is read is the copy: a running job drops its older
checkpoints at any time, and bytes that are not the ones that were stored are never parsed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from l0core.arrays import FloatArray
from l0core.errors import CheckpointIncompatible
from l0core.kinds import KINDS
from service.errors import Conflict, NotFound
from service.jobs import traces
from service.jobs.models import Job, StoredCheckpoint
from service.jobs.values import WeightsFile
from service.problems.room import room
from service.problems.trusted import save_vector
from service.resources import Resources
from service.storage.held import held_folder

LATEST = "latest"
_LOOKS = 3  # at the list, while the checkpoints on it go as others come
_CHUNK = 1 << 20


@contextmanager
def weights_file(system: Resources, job: Job, asked: str) -> Iterator[WeightsFile]:
    """Give the weights of a job's checkpoint, by its id or the latest that can be used, as a .npy for some time."""
    if KINDS[job.kind].partial is None:
        raise NotFound(f"a {job.kind} job has no weights")
    with room("the weights"), held_folder(system.store.scratch()) as folder:
        read = _latest if asked == LATEST else _by_id
        checkpoint, weights = read(system, job, asked, folder)
        path = folder / "weights.npy"
        save_vector(path, weights)
        yield WeightsFile(path=path, version=checkpoint.id, checkpoint_id=checkpoint.id)


def _by_id(system: Resources, job: Job, asked: str, folder: Path) -> tuple[StoredCheckpoint, FloatArray]:
    with system.database.reading() as session:
        found = traces.checkpoint(session, job.id, asked)
    if found is None:
        raise NotFound(f"job '{job.id}' has no such checkpoint, or has it no more; GET its checkpoints for the list")
    try:
        return found, _weights(system, job, found, folder)
    except CheckpointIncompatible as error:
        raise _unusable(found, error) from error


def _latest(system: Resources, job: Job, _: str, folder: Path) -> tuple[StoredCheckpoint, FloatArray]:
    """Give what the newest checkpoint holds that holds anything: two are kept, should one be torn."""
    for _look in range(_LOOKS):
        first: Conflict | None = None
        for listed in _listed(system, job):
            try:
                return listed, _weights(system, job, listed, folder)
            except CheckpointIncompatible as error:
                first = first or _unusable(listed, error)
    raise first or Conflict(f"job '{job.id}' is {job.status} and has no checkpoint", code="result_not_ready")


def _listed(system: Resources, job: Job) -> list[StoredCheckpoint]:
    with system.database.reading() as session:
        return traces.checkpoints(session, job.id)


def _unusable(checkpoint: StoredCheckpoint, error: CheckpointIncompatible) -> Conflict:
    return Conflict(f"checkpoint '{checkpoint.id}' gives no weights: {error.message}", code="checkpoint_incompatible")


def _weights(system: Resources, job: Job, checkpoint: StoredCheckpoint, folder: Path) -> FloatArray:
    copy = folder / "checkpoint.safetensors"
    copy_checked(system, checkpoint, copy)
    return KINDS[job.kind].weights_in(copy)


def copy_checked(system: Resources, checkpoint: StoredCheckpoint, target: Path) -> None:
    """Copy a checkpoint's bytes; CheckpointIncompatible where they are gone or not the ones that were stored."""
    if _copied(system, checkpoint.storage_key, target) != checkpoint.sha256:
        raise CheckpointIncompatible("its bytes are not the ones that were stored")


def _copied(system: Resources, key: str, target: Path) -> str:
    """Copy the bytes and give their sha256."""
    digest = hashlib.sha256()
    try:
        with system.store.open(key) as source, target.open("wb") as copy:
            while part := source.read(_CHUNK):
                digest.update(part)
                copy.write(part)
    except KeyError:
        raise CheckpointIncompatible("it is gone from the store") from None
    return digest.hexdigest()
