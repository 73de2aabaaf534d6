"""SQL on what jobs leave behind: events, target rows, checkpoints, artifacts; loss curves are next door."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, literal_column, select, update
from sqlalchemy.orm import Session

from service.db.base import database_now
from service.db.session import after_commit, is_postgresql
from service.db.upsert import upsert
from service.ids import new_id
from service.jobs.models import Event, Job, Metric, MetricBucket, StoredArtifact, StoredCheckpoint, TargetRow
from service.jobs.values import ArtifactRef, CheckpointRef, Claim, EventNote
from service.logging import log

Values = Mapping[str, Any]
ORIGIN_ATTEMPT = 0  # of the checkpoint a job begins with; its own attempts count from 1
_LEVELS = {"finding": logging.DEBUG, **dict.fromkeys(("attempt_failed", "failed", "worker_lost"), logging.WARNING)}


def events_after(session: Session, job_id: str, after: int, limit: int) -> list[Event]:
    """Give up to `limit` events numbered above `after`, in order."""
    query = select(Event).where(Event.job_id == job_id, Event.seq > after).order_by(Event.seq).limit(limit)
    return list(session.scalars(query))


def events_of_type(session: Session, job_id: str, type_: str) -> list[Event]:
    """Give a job's events of one type, in order."""
    return list(session.scalars(select(Event).where(Event.job_id == job_id, Event.type == type_).order_by(Event.seq)))


def artifacts(session: Session, job_id: str) -> list[StoredArtifact]:
    """Give a job's artifacts by name."""
    return list(session.scalars(select(StoredArtifact).where(StoredArtifact.job_id == job_id).order_by("name")))


def artifact(session: Session, job_id: str, name: str) -> StoredArtifact | None:
    """Give one artifact."""
    return session.get(StoredArtifact, (job_id, name))


def checkpoints(session: Session, job_id: str) -> list[StoredCheckpoint]:
    """Give a job's checkpoints, that of the most epochs first, the newest of equals, the one it began with last."""
    return list(session.scalars(_newest_first(job_id)))


def checkpoint(session: Session, job_id: str, checkpoint_id: str) -> StoredCheckpoint | None:
    """Give a checkpoint of this job."""
    return session.scalar(_newest_first(job_id).where(StoredCheckpoint.id == checkpoint_id))


def origin(session: Session, job_id: str) -> StoredCheckpoint | None:
    """Give the checkpoint a job began with, in its own keeping; None where it began afresh."""
    return session.scalar(_newest_first(job_id).where(StoredCheckpoint.attempt == ORIGIN_ATTEMPT))


def latest_checkpoint(session: Session, job_id: str) -> StoredCheckpoint | None:
    """Give the first of `checkpoints`."""
    return session.scalar(_newest_first(job_id).limit(1))


def _newest_first(job_id: str) -> Select[StoredCheckpoint]:
    query = select(StoredCheckpoint).where(StoredCheckpoint.job_id == job_id)
    own = StoredCheckpoint.attempt > ORIGIN_ATTEMPT  # whose epochs a run that goes on counts from 0
    return query.order_by(own.desc(), StoredCheckpoint.epoch.desc(), StoredCheckpoint.id.desc())


def target_rows(
    session: Session, job: Job, *, where: Sequence[ColumnElement[bool]], order: Sequence[ColumnElement[Any]], limit: int
) -> list[TargetRow]:
    """Give target rows of the attempt that ended the job."""
    query = select(TargetRow).where(TargetRow.job_id == job.id, TargetRow.attempt == job.attempt, *where)
    return list(session.scalars(query.order_by(*order).limit(limit)))


def predictions(session: Session, job: Job) -> list[tuple[str, float]]:
    """Give name and estimate of every target, in the problem's order."""
    query = select(TargetRow.name, TargetRow.estimate).where(
        TargetRow.job_id == job.id, TargetRow.attempt == job.attempt
    )
    return [(name, estimate) for name, estimate in session.execute(query.order_by(TargetRow.index))]


def checkpoint_ref(row: StoredCheckpoint | None) -> CheckpointRef | None:
    """Give the row as a value."""
    if row is None:
        return None
    return CheckpointRef(epoch=row.epoch, storage_key=row.storage_key, sha256=row.sha256, size_bytes=row.size_bytes)


def add_event(session: Session, job_id: str, note: EventNote) -> None:
    """Number an event and keep it; the job's row serialises the numbers, and its version tells those who wait."""
    seq = session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(last_event=Job.last_event + 1, version=Job.version + 1)
        .returning(Job.last_event)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    at = database_now() - note.age_seconds
    session.add(Event(job_id=job_id, seq=seq, at=at, type=note.type, message=note.message, data=note.data))
    session.flush()
    after_commit(session, partial(_log_event, job_id, seq, note))


def _log_event(job_id: str, seq: int, note: EventNote) -> None:
    """Write the log's line of a committed event, at the time it was seen: the log tells what the page tells."""
    seen = datetime.now(UTC) - timedelta(seconds=note.age_seconds)
    said = {**note.data, **note.logged, "job_id": job_id, "seq": seq, "message": note.message}
    timestamp = seen.isoformat(timespec="microseconds").replace("+00:00", "Z")
    log.log(_LEVELS.get(note.type, logging.INFO), f"job_{note.type}", **said, timestamp=timestamp)


def put_targets(session: Session, held: Claim, rows: Sequence[Values]) -> None:
    """Keep target rows of this attempt; they show once the job has succeeded."""
    mine = [{**row, "job_id": held.job_id, "attempt": held.attempt} for row in rows]
    upsert(session, TargetRow, mine)


def put_checkpoint(session: Session, job_id: str, attempt: int, ref: CheckpointRef) -> None:
    """List a checkpoint that the store holds; one that is listed already (the answer was lost) is listed once."""
    same = select(StoredCheckpoint.id).where(StoredCheckpoint.job_id == job_id)
    if session.scalar(same.where(StoredCheckpoint.storage_key == ref.storage_key)) is not None:
        return
    session.add(
        StoredCheckpoint(
            id=new_id("ckp"),
            job_id=job_id,
            attempt=attempt,
            epoch=ref.epoch,
            size_bytes=ref.size_bytes,
            sha256=ref.sha256,
            storage_key=ref.storage_key,
        )
    )
    session.flush()


def drop_older_checkpoints(session: Session, job_id: str, keep: int) -> list[str]:
    """Take all of a job's own checkpoints but the newest `keep` off the list; gives the storage keys to delete."""
    own = _newest_first(job_id).where(StoredCheckpoint.attempt > ORIGIN_ATTEMPT)
    older = list(session.scalars(own.offset(keep)))
    for row in older:
        session.delete(row)
    return [row.storage_key for row in older]


def put_artifacts(session: Session, job_id: str, refs: Iterable[ArtifactRef]) -> None:
    """List the artifacts of a result."""
    rows = [
        {
            "job_id": job_id,
            "name": ref.name,
            "size_bytes": ref.size_bytes,
            "sha256": ref.sha256,
            "content_type": ref.content_type,
            "storage_key": ref.storage_key,
        }
        for ref in refs
    ]
    upsert(session, StoredArtifact, rows)


def drop_rows(session: Session, job_id: str, limit: int) -> int:
    """Delete some points of a job's loss curves and some of its target rows; gives how many, 0 where none are left."""
    place: ColumnElement[Any] = literal_column("ctid" if is_postgresql(session) else "rowid")
    dropped = 0
    for table in (Metric, MetricBucket, TargetRow):
        some = select(place).select_from(table).where(table.job_id == job_id).limit(limit - dropped)
        dropped += session.connection().execute(delete(table).where(place.in_(some))).rowcount
    return dropped


def drop_files(session: Session, job_id: str) -> list[str]:
    """Take every artifact and checkpoint of a job off the list; gives the storage keys to delete."""
    tables = (StoredArtifact, StoredCheckpoint)
    return [
        key
        for table in tables
        for key in session.scalars(delete(table).where(table.job_id == job_id).returning(table.storage_key))
    ]


def drop_events(session: Session, job_id: str) -> None:
    """Delete a job's events."""
    session.execute(delete(Event).where(Event.job_id == job_id))


def listed_files(session: Session, job_ids: Collection[str]) -> set[str]:
    """Give the storage keys of the artifacts and checkpoints of these jobs."""
    tables = (StoredArtifact, StoredCheckpoint)
    return {
        key for table in tables for key in session.scalars(select(table.storage_key).where(table.job_id.in_(job_ids)))
    }
