"""A store with files of any age, and rows that name some of them."""

import hashlib
import os
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from service.db.base import Base, database_now
from service.ids import new_id
from service.jobs import traces
from service.jobs.models import Job
from service.jobs.values import ArtifactRef, CheckpointRef
from service.problems.models import Upload
from service.system import System
from tests.service.jobs import scenes

DAY_SECONDS = 86_400.0


def put(system: System, key: str, *, hours_old: float = 0.0, body: bytes = b"bytes") -> str:
    """Store some bytes that came so long ago; gives the key."""
    path = system.store.scratch() / new_id("tmp")
    path.write_bytes(body)
    system.store.put(key, path)
    age(system.settings.storage / key, hours_old)
    return key


def age(path: Path, hours: float) -> None:
    """Let a file be so old."""
    then = time.time() - timedelta(hours=hours).total_seconds()
    os.utime(path, (then, then))


def age_everything(system: System, hours: float = 1000.0) -> None:
    """Let every file of the store be so old."""
    for stored in list(system.store.keys("")):
        age(system.settings.storage / stored.key, hours)


def keys(system: System) -> list[str]:
    """Give every key the store holds."""
    return sorted(stored.key for stored in system.store.keys(""))


def checkpoint(system: System, job_id: str, epoch: int, *, hours_old: float = 0.0) -> CheckpointRef:
    """Store a checkpoint."""
    key, body = f"jobs/{job_id}/attempt/checkpoint-{epoch}", f"state {epoch}".encode()
    put(system, key, hours_old=hours_old, body=body)
    return CheckpointRef(epoch=epoch, storage_key=key, sha256=hashlib.sha256(body).hexdigest(), size_bytes=len(body))


def artifact(system: System, job_id: str, name: str, *, hours_old: float = 0.0) -> ArtifactRef:
    """Store an artifact."""
    key = put(system, f"jobs/{job_id}/attempt/{name}", hours_old=hours_old, body=name.encode())
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ArtifactRef(
        name=name, storage_key=key, sha256=digest, size_bytes=len(name), content_type="application/octet-stream"
    )


def upload(system: System, *, days_old: float = 0.0, used_days_ago: float | None = None) -> Upload:
    """Keep an upload that came, and was used, so long ago."""
    row = Upload(
        id=new_id("upl"),
        tenant=scenes.TENANT,
        sha256=new_id("sha"),
        size_bytes=5,
        content_type="application/x-npy",
        storage_key="",
    )
    row.storage_key = put(system, f"uploads/{row.id}")
    scenes.write(system, lambda session: session.add(row))
    age_upload(system, row.id, days=days_old, used_days_ago=used_days_ago)
    return row


def age_upload(system: System, upload_id: str, *, days: float, used_days_ago: float | None = None) -> None:
    """Let an upload have come, and been used, so long ago."""
    used = None if used_days_ago is None else database_now() - used_days_ago * DAY_SECONDS
    aged = update(Upload).where(Upload.id == upload_id).values(created_at=database_now() - days * DAY_SECONDS)
    scenes.write(system, lambda session: session.execute(aged.values(used_at=used)))


def ended_days_ago(system: System, job_id: str, days: float) -> None:
    """Let a job have ended so long ago."""
    scenes.set_columns(system, job_id, finished_at=database_now() - days * DAY_SECONDS)


def expired_long_ago(system: System) -> None:
    """Let every expired job have expired before the requests of then were answered."""
    expired = update(Job).where(Job.expired_at.is_not(None))
    scenes.write(system, lambda session: session.execute(expired.values(expired_at=database_now() - 3600.0)))


def count(system: System, table: type[Base]) -> int:
    """Count a table's rows."""
    with system.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def never() -> bool:
    """Let a round go to its end."""
    return False


def named(session: Session, job_id: str) -> set[str]:
    """Give the storage keys that a job's rows name."""
    return traces.listed_files(session, [job_id])
