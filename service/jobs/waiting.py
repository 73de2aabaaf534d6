"""What a job that no worker has waits for: its turn, a GPU worker, or one that knows its kind. Its stage says which.

Every worker looks at all such jobs once a round, and when it leaves; a change of the stage is an event.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.orm import Session

from service.jobs import repository, traces, workers
from service.jobs.models import Job, Worker
from service.jobs.states import BLOCKED, TERMINAL, Stage, Status
from service.jobs.values import EventNote, WorkerIdentity

_KNOWN_OF_OLD = {"calibration": 1}  # what a worker knows that tells no kinds: one of before revision 0002
_TURN = "a worker that can take it is there"


def review(session: Session, seen_seconds: float) -> None:
    """Let the stage of every job that waits say what for, as the workers seen lately have it."""
    seen = workers.workers_seen(session, seen_seconds)
    for place in repository.waiting_places(session):
        lack = _lack(place, seen, seen_seconds)
        if lack is not None and place.stage != lack[0]:
            _restage(session, place, *lack)
        elif lack is None and place.stage in BLOCKED:
            _restage(session, place, Stage.QUEUED, _TURN)


def review_new(session: Session, job: Job, seen_seconds: float) -> None:
    """Let the stage of a job that was just submitted say what it waits for."""
    place = repository.Place(queue=job.queue, kind=job.kind, kind_version=job.kind_version, stage=job.stage)
    lack = _lack(place, workers.workers_seen(session, seen_seconds), seen_seconds)
    if lack is not None:
        job.stage = lack[0].value
        traces.add_event(session, job.id, _note(*lack))
        session.refresh(job)


def gpu_worker_seen(session: Session, seen_seconds: float) -> bool:
    """Say whether a worker of the queue gpu was seen lately."""
    return any("gpu" in worker.queues for worker in workers.workers_seen(session, seen_seconds))


def why_not_claimed(job: Job | None, worker: WorkerIdentity, kinds: Mapping[str, int]) -> str:
    """Give the reason why a worker that knows these versions did not get a job, as the job is now."""
    if job is None:
        return "there is no such job"
    if Status(job.status) in TERMINAL:
        return f"it has {job.status}"
    if not knows(kinds, job):
        return f"it is {job.kind} version {job.kind_version}; this worker knows {_listed(kinds)}"
    if job.queue not in worker.queues:
        return f"it is for the queue {job.queue}; this worker serves {', '.join(worker.queues)}"
    if job.cancel_requested_at is not None:
        return "its cancellation was asked for"
    return "no attempt is left" if job.attempt >= job.max_attempts else "another worker holds it"


def knows(kinds: Mapping[str, int], asked: "Job | repository.Place") -> bool:
    """Say whether one who knows these versions can run a job."""
    return asked.kind_version <= kinds.get(asked.kind, 0)


def _lack(place: repository.Place, seen: Iterable[Worker], seen_seconds: float) -> tuple[Stage, str] | None:
    """Give the stage and the sentence of jobs that nobody alive can take; None where somebody can.

    Jobs for the CPU wait in the queue where no worker at all is there: `/readyz` says so.
    """
    serving = [worker.kinds or _KNOWN_OF_OLD for worker in seen if place.queue in worker.queues]
    if not serving and place.queue == "gpu":
        return Stage.NO_GPU_WORKER, f"no GPU worker was seen in the last {seen_seconds:g} s; the job waits for one"
    if not serving or any(knows(kinds, place) for kinds in serving):
        return None
    return Stage.NO_WORKER_FOR_KIND, (
        f"no worker of the queue {place.queue} knows {place.kind} version {place.kind_version}, "
        f"they know {_listed(_best(serving))}; the job waits for a newer worker"
    )


def _best(known: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {kind: max(kinds.get(kind, 0) for kinds in known) for kind in {name for kinds in known for name in kinds}}


def _listed(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} up to version {version}" for kind, version in sorted(kinds.items())) or "no kind"


def _restage(session: Session, place: repository.Place, stage: Stage, message: str) -> None:
    for job_id in repository.restage(session, place, stage):
        traces.add_event(session, job_id, _note(stage, message))


def _note(stage: Stage, message: str) -> EventNote:
    return EventNote(type="waiting", message=message, data={"stage": stage.value})
