"""The only SQL on jobs. Every write of a running job carries its lease token and a guard on its status."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Float,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.base import Base, database_now
from service.ids import new_id
from service.jobs.filters import JobFilter
from service.jobs.models import IdempotencyKey, Job, StoredCheckpoint, WebhookMessage
from service.jobs.states import TERMINAL, Stage, Status, sources
from service.jobs.traces import ORIGIN_ATTEMPT, checkpoint_ref
from service.jobs.values import Claim, WorkerIdentity

Values = Mapping[str, Any]
_LATER = {"version": Job.version + 1}
_IDS_A_STATEMENT = 1000
_JOBS_BY_ID = select(Job).where(Job.id.in_(bindparam("ids", expanding=True)))
_LOOKS = select(Job.id, Job.version, Job.last_event)
_MOVES = _LOOKS.where(Job.id.in_(bindparam("ids", expanding=True)))
_A_MOMENT = 1e-3  # seconds; a lease that ends this long ago has ended by any clock resolution


class Look(NamedTuple):
    """A job, and its `moves` when it was looked at."""

    id: str
    version: int
    last_event: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where jobs wait: what they need of a worker, and the stage they show."""

    queue: str
    kind: str
    kind_version: int
    stage: str


def add(session: Session, row: Base) -> None:
    """Insert a row now, so that a broken constraint shows here."""
    session.add(row)
    session.flush()


def job_of(session: Session, tenant: str, job_id: str, *, lock: bool = False) -> Job | None:
    """Give a tenant's job; locked, nobody else changes it before this transaction ends."""
    query = select(Job).where(Job.id == job_id, Job.tenant == tenant).execution_options(populate_existing=True)
    return session.scalar(query.with_for_update() if lock else query)


def job_by_id(session: Session, job_id: str) -> Job | None:
    """Give a job whoever's it is, for workers."""
    return session.get(Job, job_id)


def lock_job(session: Session, job_id: str) -> None:
    """Wait for every transaction that has changed the job, and let nobody change it before this one ends."""
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())


def jobs_by_id(session: Session, job_ids: Sequence[str]) -> list[Job]:
    """Give the jobs of these ids, whoever's they are; the caller looks at the tenant."""
    found: list[Job] = []
    for some in _batches(job_ids):
        found += session.scalars(_JOBS_BY_ID, {"ids": some})
    return found


def moves_by_id(session: Session, job_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Give `Job.moves` of each of these jobs; one that is gone is not among them."""
    found: dict[str, tuple[int, int]] = {}
    for some in _batches(job_ids):
        found.update((job_id, (version, event)) for job_id, version, event in session.execute(_MOVES, {"ids": some}))
    return found


def _batches(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (job_ids[start : start + _IDS_A_STATEMENT] for start in range(0, len(job_ids), _IDS_A_STATEMENT))


def jobs_page(session: Session, tenant: str, *, asked: JobFilter, before: str | None, limit: int) -> list[Look]:
    """Give up to `limit` jobs of a tenant, newest first, older than the job `before`."""
    query = _LOOKS.where(Job.tenant == tenant, *asked.where(session))
    if before is not None:
        query = query.where(Job.id < before)
    return [Look(*row) for row in session.execute(query.order_by(Job.id.desc()).limit(limit))]


def give_to(session: Session, job_id: str, tenant: str) -> None:
    """Let a job be another tenant's, under no idempotency key; its results are nobody's from now on."""
    _changed(
        session,
        update(Job).where(Job.id == job_id).values(tenant=tenant, expired_at=_first_time(Job.expired_at), **_LATER),
    )
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.job_id == job_id))


def ids_of(session: Session, tenant: str, limit: int) -> list[str]:
    """Give the ids of a tenant's first jobs."""
    return list(session.scalars(select(Job.id).where(Job.tenant == tenant).order_by(Job.id).limit(limit)))


def drop_job(session: Session, job_id: str) -> None:
    """Delete the row of a job that nothing refers to any more."""
    session.execute(delete(Job).where(Job.id == job_id))


def job_of_key(session: Session, tenant: str, key: str) -> IdempotencyKey | None:
    """Give what is known of a tenant's idempotency key."""
    return session.get(IdempotencyKey, (tenant, key))


def forget_old_key(session: Session, tenant: str, key: str, lifetime_seconds: float) -> None:
    """Delete an idempotency key that has outlived its time."""
    mine = delete(IdempotencyKey).where(IdempotencyKey.tenant == tenant, IdempotencyKey.key == key)
    session.execute(mine.where(IdempotencyKey.created_at < database_now() - lifetime_seconds))


def forget_old_keys(session: Session, lifetime_seconds: float, limit: int) -> int:
    """Delete idempotency keys of any tenant that have outlived their time; gives how many."""
    mine = tuple_(IdempotencyKey.tenant, IdempotencyKey.key)
    old = IdempotencyKey.created_at < database_now() - lifetime_seconds
    some = select(IdempotencyKey.tenant, IdempotencyKey.key).where(old).limit(limit)
    return session.connection().execute(delete(IdempotencyKey).where(mine.in_(some), old)).rowcount


def jobs_use_problem(session: Session, problem_id: str) -> bool:
    """Say whether a job refers to the problem."""
    return bool(session.scalar(select(exists().where(Job.problem_id == problem_id))))


def claim(
    session: Session, job_id: str, token: str, *, worker: WorkerIdentity, kinds: Mapping[str, int], lease: float
) -> Job | None:
    """Take the job by compare-and-swap; None where it ended, is held, is spent, cancelled or not this worker's.

    `kinds` gives the latest version the worker knows of each kind.
    """
    free = or_(
        Job.status == Status.PENDING.value,
        and_(Job.status == Status.RUNNING.value, _expired()),
    )
    known = [and_(Job.kind == kind, Job.kind_version <= version) for kind, version in kinds.items()]
    fits = [or_(false(), *known), Job.queue.in_(worker.queues)]
    taken = update(Job).where(
        Job.id == job_id, free, Job.attempt < Job.max_attempts, Job.cancel_requested_at.is_(None), *fits
    )
    return _changed(
        session,
        taken.values(
            status=Status.RUNNING.value,
            stage=Stage.LOADING.value,
            attempt=Job.attempt + 1,
            lease_token=token,
            lease_expires_at=database_now() + lease,
            heartbeat_at=database_now(),
            started_at=_first_time(Job.started_at),
            worker=worker.id,
            **_LATER,
        ),
    )


def held_job(session: Session, job: Job, *, problem_key: str, checkpoint: StoredCheckpoint | None) -> Claim:
    """Give what the holder of a claimed job needs to know of it."""
    is_origin = checkpoint is not None and checkpoint.attempt == ORIGIN_ATTEMPT
    return Claim(
        job_id=job.id,
        token=job.lease_token or "",
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        kind=job.kind,
        problem_key=problem_key,
        problem_sha256=job.problem_sha256,
        hyperparameters=job.hyperparameters,
        seed=job.seed,
        device=job.device,
        log_every=job.log_every,
        checkpoint_every=job.checkpoint_every,
        deadline_seconds=job.deadline_seconds,
        deadline_in_seconds=seconds_to_deadline(session, job),
        checkpoint=checkpoint_ref(checkpoint),
        continues=is_origin and not (job.resumed_from or {}).get("same_run"),
    )


def seconds_to_deadline(session: Session, job: Job) -> float | None:
    """Give the time a job has left by the database's clock; None without a deadline."""
    if job.deadline_seconds is None:
        return None
    now = float(session.scalar(select(database_now())) or 0.0)
    return job.created_at.timestamp() + job.deadline_seconds - now


def _held(held: Claim) -> ColumnElement[bool]:
    return and_(Job.id == held.job_id, Job.lease_token == held.token, Job.status == Status.RUNNING.value)


def renew(session: Session, held: Claim, lease: float, changes: Values) -> Job | None:
    """Renew the lease and write `changes` of stage and progress; None where the job is no longer the holder's."""
    values = {"lease_expires_at": database_now() + lease, "heartbeat_at": database_now(), **changes}
    return _changed(session, update(Job).where(_held(held)).values(values | (_LATER if changes else {})))


def finish(session: Session, held: Claim, status: Status, changes: Values) -> Job | None:
    """Move a held job to an end; None where it is no longer the holder's."""
    return _ended(session, update(Job).where(_held(held)).values(_ending(status, changes)))


def release(session: Session, held: Claim, *, spend_attempt: bool) -> Job | None:
    """Let go of a held job: its lease ends now, so that the next claim wins; a drained attempt does not count."""
    attempt = Job.attempt if spend_attempt else Job.attempt - 1
    over = database_now() - _A_MOMENT
    changes = {"lease_expires_at": over, "lease_token": None, "stage": Stage.QUEUED.value, "attempt": attempt}
    return _changed(session, update(Job).where(_held(held)).values(changes | _LATER))


def forget_holder(session: Session, job_id: str) -> bool:
    """Take the token off a running job whose lease has run out; False where that was done before, or it has ended."""
    running = Job.status == Status.RUNNING.value  # whoever held it may have ended it since it was found lost
    held = update(Job).where(Job.id == job_id, running, _expired(), Job.lease_token.is_not(None))
    return _changed(session, held.values(lease_token=None, stage=Stage.QUEUED.value, **_LATER)) is not None


def end_unheld(session: Session, job_id: str, status: Status, changes: Values) -> Job | None:
    """Move a job nobody holds (pending, or its lease has run out) to an end."""
    legal = Job.status.in_([source.value for source in sources(status)])
    return _ended(session, update(Job).where(Job.id == job_id, _unheld(), legal).values(_ending(status, changes)))


def _ended(session: Session, statement: Update) -> Job | None:
    """Run an update that ends a job, and note in the same transaction what its webhook is to be told."""
    job = _changed(session, statement)
    if job is not None and job.webhook_url is not None:
        add(session, WebhookMessage(id=new_id("msg"), job_id=job.id))
    return job


def _expired() -> ColumnElement[bool]:
    """Whether the lease has run out; one that was never set counts as run out, so that no job hides behind a NULL."""
    return func.coalesce(Job.lease_expires_at, 0.0, type_=Float) < database_now()


def _unheld() -> ColumnElement[bool]:
    return or_(Job.status == Status.PENDING.value, _expired())


def _ending(status: Status, changes: Values) -> dict[str, Any]:
    asked = {"cancel_requested_at": _first_time(Job.cancel_requested_at)}
    said = asked if status is Status.CANCELLED else {}  # a cancelled job always says when that was asked for
    ended = {"status": status.value, "finished_at": database_now(), "lease_expires_at": None}
    return {**ended, **said, **changes, **_LATER}


def _first_time(moment: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """Give the moment, now where there was none."""
    return func.coalesce(moment, database_now())


def request_cancel(session: Session, job_id: str) -> Job | None:
    """Note that a running job shall stop; None where it was noted before or the job ended."""
    running = update(Job).where(Job.id == job_id, Job.status == Status.RUNNING.value, Job.cancel_requested_at.is_(None))
    return _changed(session, running.values(cancel_requested_at=database_now(), **_LATER))


def mark_published(session: Session, job_id: str) -> None:
    """Note that the job's id went to the broker."""
    active = update(Job).where(Job.id == job_id, Job.status.not_in([status.value for status in TERMINAL]))
    waiting = case((Job.status == Status.PENDING.value, _queued_stage()), else_=Job.stage)
    _changed(session, active.values(published_at=database_now(), stage=waiting, **_LATER))


def _queued_stage() -> ColumnElement[str]:
    return case((Job.stage == Stage.AWAITING_DISPATCH.value, Stage.QUEUED.value), else_=Job.stage)


def lost_jobs(session: Session) -> list[Job]:
    """Give running jobs whose lease has run out: all that must end, are noticed first, or were not sent again since."""
    must_end = or_(Job.attempt >= Job.max_attempts, Job.cancel_requested_at.is_not(None))
    not_sent = or_(Job.published_at.is_(None), Job.lease_expires_at.is_(None), Job.published_at < Job.lease_expires_at)
    expired = select(Job).where(Job.status == Status.RUNNING.value, _expired())
    return list(session.scalars(expired.where(or_(must_end, Job.lease_token.is_not(None), not_sent)).order_by(Job.id)))


def held_by_workers(session: Session) -> dict[str, list[tuple[str, str]]]:
    """Give tenant and id of the jobs each worker holds."""
    held = and_(Job.status == Status.RUNNING.value, Job.lease_token.is_not(None), not_(_expired()))
    found: dict[str, list[tuple[str, str]]] = {}
    for worker, tenant, job_id in session.execute(select(Job.worker, Job.tenant, Job.id).where(held).order_by(Job.id)):
        found.setdefault(worker or "", []).append((tenant, job_id))
    return found


def waiting_counts(session: Session) -> dict[tuple[str, str, int], int]:
    """Count the jobs that wait for a worker, by queue, kind and version."""
    place = (Job.queue, Job.kind, Job.kind_version)
    rows = session.execute(select(*place, func.count()).where(_waits()).group_by(*place))
    return {(queue, kind, version): count for queue, kind, version, count in rows}


def waiting_places(session: Session) -> list[Place]:
    """Give where jobs wait for a worker, and the stages they show."""
    rows = session.execute(select(Job.queue, Job.kind, Job.kind_version, Job.stage).where(_waits()).distinct())
    return [Place(queue=queue, kind=kind, kind_version=version, stage=stage) for queue, kind, version, stage in rows]


def restage(session: Session, place: Place, stage: Stage) -> list[str]:
    """Give another stage to jobs that wait in a place, a thousand at most; gives their ids.

    A job that another transaction has in hand is left to it.
    """
    there = and_(Job.queue == place.queue, Job.kind == place.kind, Job.kind_version == place.kind_version)
    some = select(Job.id).where(_waits(), there, Job.stage == place.stage).order_by(Job.id).limit(1000)
    shown = case((Job.published_at.is_(None), Stage.AWAITING_DISPATCH.value), else_=Stage.QUEUED.value)
    changed = update(Job).where(Job.id.in_(some.with_for_update(skip_locked=True)))
    values = {"stage": shown if stage is Stage.QUEUED else stage.value, **_LATER}
    statement = changed.values(values).returning(Job.id).execution_options(synchronize_session=False)
    return sorted(session.scalars(statement))


def forgotten_jobs(session: Session, queue: str, kind: str, version: int, *, seconds: float) -> list[Job]:
    """Give waiting jobs of a queue, kind and version that were published longer ago than that, or never."""
    since = func.coalesce(Job.published_at, Job.created_at)
    place = and_(Job.queue == queue, Job.kind == kind, Job.kind_version == version)
    waiting = select(Job).where(_waits(), place, since < database_now() - seconds)
    return list(session.scalars(waiting.order_by(Job.id).limit(1000)))


def _waits() -> ColumnElement[bool]:
    """Whether a job is there to be taken: pending, or let go of by the worker that had it."""
    let_go = and_(Job.status == Status.RUNNING.value, Job.lease_token.is_(None), _expired())
    return or_(Job.status == Status.PENDING.value, let_go)


def overdue_jobs(session: Session) -> list[Job]:
    """Give jobs that nobody holds and whose deadline has passed."""
    late = Job.created_at + Job.deadline_seconds < database_now()
    active = Job.status.in_([Status.PENDING.value, Status.RUNNING.value])
    return list(session.scalars(select(Job).where(active, _unheld(), Job.deadline_seconds.is_not(None), late)))


def expire_jobs(session: Session, kept_seconds: float, limit: int) -> list[str]:
    """Mark jobs whose end was too long ago as expired; gives their ids."""
    not_yet = (Job.cleared_at.is_(None), Job.expired_at.is_(None))
    over = select(Job.id).where(*not_yet, Job.finished_at < database_now() - kept_seconds)
    some = update(Job).where(Job.id.in_(over.order_by(Job.finished_at).limit(limit)), *not_yet)
    marked = some.values(expired_at=database_now(), **_LATER).execution_options(synchronize_session=False)
    return list(session.scalars(marked.returning(Job.id)))


def job_to_clear(session: Session, expired_seconds: float) -> Job | None:
    """Give a job that expired so long ago and still has its results; nobody else is given it in this transaction."""
    due = select(Job).where(Job.cleared_at.is_(None), Job.expired_at < database_now() - expired_seconds)
    return session.scalar(due.order_by(Job.expired_at).limit(1).with_for_update(skip_locked=True))


def mark_cleared(session: Session, job_id: str) -> None:
    """Note that nothing is left of a job's results."""
    _changed(session, update(Job).where(Job.id == job_id).values(cleared_at=database_now()))


def running_tokens(session: Session, job_ids: Iterable[str]) -> dict[str, str | None]:
    """Give, of the jobs there are, the token of the attempt that runs; None where none does."""
    rows = session.execute(select(Job.id, Job.status, Job.lease_token).where(Job.id.in_(list(job_ids))))
    return {job_id: token if status == Status.RUNNING.value else None for job_id, status, token in rows}


def _changed(session: Session, statement: Update) -> Job | None:
    """Run an update of at most one job and give it as it is now; None where its guard did not hold."""
    returned = statement.returning(Job).execution_options(populate_existing=True, synchronize_session=False)
    return session.scalars(returned).one_or_none()
