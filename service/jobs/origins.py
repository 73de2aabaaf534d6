"""The checkpoint of another run that a new job begins with: found, checked, and copied into the job's own keeping.

A copy, since the run it is of may go on and drop its older checkpoints, and may be deleted or expire.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from l0core.errors import CheckpointIncompatible
from service.errors import Conflict, NotFound
from service.jobs import partial, repository, traces
from service.jobs.models import Job, StoredCheckpoint
from service.jobs.values import CheckpointRef, JobRequest, Origin, ResumeFrom
from service.problems.room import room
from service.resources import Resources
from service.storage.forgetting import forget
from service.storage.held import held_folder


@contextmanager
def copied(resources: Resources, tenant: str, request: JobRequest, job_id: str) -> Iterator[Origin | None]:
    """Give what the job begins with, in its keeping; an error inside the context removes it again."""
    if request.resume_from is None:
        yield None
        return
    with resources.database.reading() as session:
        source, found = _found(session, tenant, request.resume_from)
    _check_problem(source, request)
    key = f"jobs/{job_id}/origin/checkpoint.safetensors"
    _copy(resources, found, key)
    ref = CheckpointRef(epoch=found.epoch, storage_key=key, sha256=found.sha256, size_bytes=found.size_bytes)
    try:
        yield Origin(job_id=source.id, checkpoint_id=found.id, same_run=_is_same_run(source, request), checkpoint=ref)
    except BaseException:
        forget(resources.store, key)
        raise


def shown(origin: Origin | None) -> dict[str, object] | None:
    """Give what is kept of it with the job, and shown."""
    if origin is None:
        return None
    named = {"job_id": origin.job_id, "checkpoint": origin.checkpoint_id, "epoch": origin.checkpoint.epoch}
    return {**named, "same_run": origin.same_run}


def _found(session: Session, tenant: str, asked: ResumeFrom) -> tuple[Job, StoredCheckpoint]:
    source = repository.job_of(session, tenant, asked.job_id)
    if source is None:
        raise NotFound(f"resume_from: there is no job '{asked.job_id}'")
    if asked.checkpoint == partial.LATEST:
        found = traces.latest_checkpoint(session, source.id)
        lacks = "has no checkpoint: none was written yet, or its results are past their time"
    else:
        found = traces.checkpoint(session, source.id, asked.checkpoint)
        lacks = f"has no checkpoint '{asked.checkpoint}', or has it no more; GET its checkpoints for the list"
    if found is None:
        raise Conflict(f"resume_from: job '{source.id}' {lacks}", code="result_not_ready")
    return source, found


def _check_problem(source: Job, request: JobRequest) -> None:
    if (source.kind, source.problem_id) != (request.kind, request.problem_id):
        text = (
            f"resume_from: job '{source.id}' is a {source.kind} of problem '{source.problem_id}'; go on from a "
            f"{request.kind} of problem '{request.problem_id}', or start without it"
        )
        raise Conflict(text, code="checkpoint_incompatible")


def _is_same_run(source: Job, request: JobRequest) -> bool:
    """Say whether the new run would come to the same state by itself: then the source's is its own to the bit."""
    began_afresh = source.resumed_from is None or source.resumed_from["same_run"]
    mine = (request.hyperparameters, request.seed, request.device)
    return began_afresh and mine == (source.hyperparameters, source.seed, source.device)


def _copy(resources: Resources, found: StoredCheckpoint, key: str) -> None:
    """Copy the bytes; refuses those that are not the ones that were stored."""
    with room("the checkpoint"), held_folder(resources.store.scratch()) as folder:
        path = folder / "checkpoint.safetensors"
        try:
            partial.copy_checked(resources, found, path)
        except CheckpointIncompatible as error:
            text = f"resume_from: checkpoint '{found.id}' cannot be used: {error.message}"
            raise Conflict(text, code="checkpoint_incompatible") from error
        resources.store.put(key, path)
