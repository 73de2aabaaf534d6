"""The verbs of a job's life: submit, claim, report, succeed, fail, give back, cancel, reap.

Each is the work of one writing transaction: it takes the session, the caller's `Database.transaction()` commits. Where
a verb leaves a job for some worker to take, the dispatcher sends its id after that commit.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from l0core.kind import Kind, versions_of
from l0core.kinds import KINDS
from service.errors import Conflict, FieldError, NotFound, Unprocessable
from service.ids import new_id
from service.jobs import curves, origins, repository, traces
from service.jobs.dispatch import Dispatcher
from service.jobs.failures import deadline_exceeded, problem_object, worker_lost
from service.jobs.models import Job
from service.jobs.routing import route
from service.jobs.states import TERMINAL, Status
from service.jobs.values import (
    ArtifactRef,
    Batch,
    Claim,
    Directive,
    EventNote,
    Failure,
    JobRequest,
    Origin,
    WorkerIdentity,
)
from service.problems import repository as problems


def _of_another_kind(kind: str, request: JobRequest) -> Unprocessable:
    text = f"problem '{request.problem_id}' is one of {kind}; a {request.kind} job needs a problem of its own kind"
    fault = FieldError(pointer="/problem_id", code="invalid_request", detail=text)
    return Unprocessable(text, code="invalid_request", errors=(fault,))


def submit(
    session: Session,
    tenant: str,
    request: JobRequest,
    dispatcher: Dispatcher,
    *,
    job_id: str | None = None,
    origin: Origin | None = None,
) -> Job:
    """Write a pending job on a problem of this tenant; what it begins with is in the keeping of this `job_id`."""
    problem = problems.problem_of(session, tenant, request.problem_id)
    if problem is None:
        raise NotFound(f"there is no problem '{request.problem_id}'")
    if problem.kind != request.kind:
        raise _of_another_kind(problem.kind, request)
    job = Job(
        id=job_id or new_id("job"),
        tenant=tenant,
        kind=request.kind,
        problem_id=problem.id,
        problem_sha256=problem.sha256,
        hyperparameters=request.hyperparameters,
        seed=request.seed,
        device=request.device,
        queue="gpu" if request.device == "cuda" else "cpu",
        kind_version=KINDS[request.kind].version if request.kind in KINDS else 1,
        log_every=request.log_every,
        checkpoint_every=request.checkpoint_every,
        deadline_seconds=request.deadline_seconds,
        max_attempts=request.max_attempts,
        tags=request.tags,
        webhook_url=request.webhook_url,
        retry_of=request.retry_of,
        resumed_from=origins.shown(origin),
    )
    repository.add(session, job)
    if origin is not None:
        traces.put_checkpoint(session, job.id, traces.ORIGIN_ATTEMPT, origin.checkpoint)
    asked = {"tenant": tenant, "kind": job.kind, "problem_id": problem.id, "queue": job.queue, "device": job.device}
    note = EventNote(type="submitted", message=f"{request.kind} job submitted", logged=asked)
    traces.add_event(session, job.id, note)
    session.refresh(job, ["version", "last_event"])
    dispatcher.after_commit(session, job)
    return job


def claim(
    session: Session, job_id: str, worker: WorkerIdentity, kinds: Mapping[str, Kind], lease: float
) -> Claim | None:
    """Take the job for this worker, or give None: it ended, another holds it, or it is not for this worker."""
    token = secrets.token_hex(16)
    job = repository.claim(session, job_id, token, worker=worker, kinds=versions_of(kinds), lease=lease)
    if job is None:
        return None
    held = repository.held_job(
        session,
        job,
        problem_key=problems.storage_key(session, job.problem_id),
        checkpoint=traces.latest_checkpoint(session, job_id),
    )
    data = {"attempt": held.attempt, "worker": worker.id}
    traces.add_event(session, job_id, EventNote(type="started", message=f"attempt {held.attempt} started", data=data))
    return held


def directive(session: Session, held: Claim) -> Directive:
    """Say whether the holder shall go on; only reads."""
    job = repository.job_by_id(session, held.job_id)
    if job is None or job.lease_token != held.token or Status(job.status) in TERMINAL:
        return Directive.LOST
    return Directive.CANCEL if job.cancel_requested_at is not None else Directive.GO_ON


def report(session: Session, held: Claim, batch: Batch, lease: float) -> Directive:
    """Renew the lease and keep what the run has reported; says whether to go on."""
    job = repository.renew(session, held, lease, _changes(batch))
    if job is None:
        return Directive.LOST
    _keep(session, held, batch)
    return Directive.CANCEL if job.cancel_requested_at is not None else Directive.GO_ON


def succeed(
    session: Session, held: Claim, batch: Batch, summary: dict[str, Any], artifacts: Iterable[ArtifactRef]
) -> bool:
    """The one finishing transaction: last reports, artifacts and state together; False where the job was lost."""
    if not repository.finish(session, held, Status.SUCCEEDED, {**_changes(batch), "summary": summary}):
        return False
    _keep(session, held, batch)
    traces.put_artifacts(session, held.job_id, artifacts)
    traces.add_event(session, held.job_id, EventNote(type="succeeded", message="succeeded"))
    return True


def fail(session: Session, held: Claim, batch: Batch, failure: Failure, dispatcher: Dispatcher) -> bool:
    """End an attempt without a result: another attempt where that may help and one is left, else the job has failed."""
    if failure.retry and held.attempt < held.max_attempts:
        note = EventNote(type="attempt_failed", message=failure.detail, data={"code": failure.code})
        return _let_go(session, held, batch, note, dispatcher, spend_attempt=True)
    if not repository.finish(session, held, Status.FAILED, {**_changes(batch), "error": problem_object(failure)}):
        return False
    _keep(session, held, batch)
    traces.add_event(session, held.job_id, _failed_note(failure))
    return True


def give_back(
    session: Session, held: Claim, batch: Batch, dispatcher: Dispatcher, why: str = "the worker is shutting down"
) -> bool:
    """Let go of a job because this worker ends; the attempt does not count and another worker goes on at once."""
    note = EventNote(type="given_back", message=f"{why}; another one goes on")
    return _let_go(session, held, batch, note, dispatcher, spend_attempt=False)


def end_cancelled(session: Session, held: Claim, batch: Batch) -> bool:
    """End a held job whose cancellation was asked for."""
    if not repository.finish(session, held, Status.CANCELLED, _changes(batch)):
        return False
    _keep(session, held, batch)
    traces.add_event(session, held.job_id, EventNote(type="cancelled", message="cancelled while running"))
    return True


def cancel(session: Session, tenant: str, job_id: str) -> Job:
    """Cancel a pending job at once, ask a running one to stop; an ended one is refused unless it was cancelled."""
    job = repository.job_of(session, tenant, job_id, lock=True)
    if job is None:
        raise NotFound(f"there is no job '{job_id}'")
    if Status(job.status) in TERMINAL and job.status != Status.CANCELLED:
        raise Conflict(f"job '{job_id}' has already {job.status}", code="job_already_terminal")
    if repository.end_unheld(session, job_id, Status.CANCELLED, {}):
        traces.add_event(session, job_id, EventNote(type="cancelled", message="cancelled; no worker was on it"))
    elif repository.request_cancel(session, job_id):
        traces.add_event(session, job_id, EventNote(type="cancel_requested", message="asked to stop"))
    session.refresh(job)
    return job


def reap(
    session: Session, republish_seconds: float, dispatcher: Dispatcher, waiting_ids: Mapping[str, int | None]
) -> list[str]:
    """End the lost jobs that must end and send the others again, forgotten ones too; gives the ids sent.

    `waiting_ids` is what the broker held of each route just before (None: it is away): no transaction waits for it.
    Ids of a route that is not among them are left to workers who know it.
    """
    for job in repository.overdue_jobs(session):
        _fail_unheld(session, job, deadline_exceeded(job.deadline_seconds or 0.0))
    lost = [job for job in repository.lost_jobs(session) if _goes_on(session, job)]
    again = lost + _forgotten(session, republish_seconds, waiting_ids)
    for job in again:
        dispatcher.after_commit(session, job)
    return [job.id for job in again]


def _forgotten(session: Session, republish_seconds: float, waiting_ids: Mapping[str, int | None]) -> list[Job]:
    """Give the waiting jobs to send again: those of a route on which the broker holds fewer ids than jobs wait."""
    short = [
        place
        for place, count in repository.waiting_counts(session).items()
        if (waiting := waiting_ids.get(route(*place))) is not None and waiting < count
    ]
    return [job for place in short for job in repository.forgotten_jobs(session, *place, seconds=republish_seconds)]


def _goes_on(session: Session, job: Job) -> bool:
    """End a lost job where it was cancelled or has no attempt left; True where another attempt shall be made."""
    if job.cancel_requested_at is not None:
        if repository.end_unheld(session, job.id, Status.CANCELLED, {}):
            note = EventNote(type="cancelled", message="cancelled; its worker had been lost")
            traces.add_event(session, job.id, note)
        return False
    if job.attempt >= job.max_attempts:
        _fail_unheld(session, job, worker_lost(job.attempt))
        return False
    if repository.forget_holder(session, job.id):
        note = EventNote(type="worker_lost", message=f"the worker of attempt {job.attempt} was lost")
        traces.add_event(session, job.id, note)
    return True


def _fail_unheld(session: Session, job: Job, failure: Failure) -> None:
    if repository.end_unheld(session, job.id, Status.FAILED, {"error": problem_object(failure)}):
        traces.add_event(session, job.id, _failed_note(failure))


def _let_go(
    session: Session, held: Claim, batch: Batch, note: EventNote, dispatcher: Dispatcher, *, spend_attempt: bool
) -> bool:
    job = repository.release(session, held, spend_attempt=spend_attempt)
    if job is None:
        return False
    _keep(session, held, batch)
    traces.add_event(session, held.job_id, note)
    dispatcher.after_commit(session, job)
    return True


def _changes(batch: Batch) -> dict[str, Any]:
    told = {"stage": batch.stage, "progress": batch.progress, "versions": batch.versions}
    return {name: value for name, value in told.items() if value is not None}


def _keep(session: Session, held: Claim, batch: Batch) -> None:
    curves.put_metrics(session, held.job_id, batch.metrics)
    traces.put_targets(session, held, batch.targets)
    for ref in batch.checkpoints:
        traces.put_checkpoint(session, held.job_id, held.attempt, ref)
    for note in batch.events:
        traces.add_event(session, held.job_id, note)


def _failed_note(failure: Failure) -> EventNote:
    return EventNote(type="failed", message=failure.detail, data={"code": failure.code})
