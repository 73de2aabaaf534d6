"""Tables of jobs and of everything a job leaves behind."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, database_now
from service.jobs.states import TERMINAL, Stage, Status


class Job(Base):
    """One run asked for."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_status_lease", "status", "lease_expires_at"),
        Index("ix_jobs_page", "tenant", "id"),
        Index("ix_jobs_page_status", "tenant", "status", "id"),
        Index("ix_jobs_page_kind", "tenant", "kind", "id"),
        Index("ix_jobs_page_status_kind", "tenant", "status", "kind", "id"),
        Index("ix_jobs_status_queue", "status", "queue"),
        Index("ix_jobs_keeping", "cleared_at", "expired_at", "finished_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    kind: Mapped[str]
    kind_version: Mapped[int] = mapped_column(default=1, server_default="1")
    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"))
    problem_sha256: Mapped[str]
    hyperparameters: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    device: Mapped[str]
    queue: Mapped[str]
    log_every: Mapped[int | None]
    checkpoint_every: Mapped[int | None]
    deadline_seconds: Mapped[float | None] = mapped_column(Float(53))
    tags: Mapped[dict[str, Any]]
    retry_of: Mapped[str | None]  # the job whose request this one repeats
    resumed_from: Mapped[dict[str, Any] | None]  # job_id and checkpoint of another run that this one goes on from
    webhook_url: Mapped[str | None]

    status: Mapped[str] = mapped_column(default=Status.PENDING.value)
    stage: Mapped[str] = mapped_column(default=Stage.AWAITING_DISPATCH.value)
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column(default=1)
    last_event: Mapped[int] = mapped_column(default=0)

    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]
    lease_token: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    worker: Mapped[str | None]
    published_at: Mapped[datetime | None]

    cancel_requested_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]  # from now on nobody is given its results
    cleared_at: Mapped[datetime | None]  # and now they are gone

    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    summary: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return Status(self.status) in TERMINAL

    @property
    def moves(self) -> tuple[int, int]:
        """Numbers of which one grows whenever anything about it changes."""
        return self.version, self.last_event


class IdempotencyKey(Base):
    """Which job a client's key made, and from what."""

    __tablename__ = "idempotency_keys"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    payload_sha256: Mapped[str]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[datetime] = mapped_column(default=database_now(), index=True)


class Event(Base):
    """Something that happened to a job, numbered from 1."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(default=database_now())
    type: Mapped[str]
    message: Mapped[str]
    data: Mapped[dict[str, Any]]


class Metric(Base):
    """One point of one loss curve; a value that is no number is null."""

    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    value: Mapped[float | None] = mapped_column(Float(53))


class MetricBucket(Base):
    """The points of one curve whose step divided by `width` is `bucket`, in numbers."""

    __tablename__ = "metric_buckets"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    width: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    bucket: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last_step: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[float | None] = mapped_column(Float(53))
    low: Mapped[float | None] = mapped_column(Float(53))
    high: Mapped[float | None] = mapped_column(Float(53))
    n: Mapped[int] = mapped_column(BigInteger)


class TargetRow(Base):
    """How well one target is met, by the attempt that wrote it."""

    __tablename__ = "targets"
    __table_args__ = (Index("ix_targets_worst", "job_id", "attempt", "abs_relative_error"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    value: Mapped[float] = mapped_column(Float(53))
    initial_estimate: Mapped[float] = mapped_column(Float(53))
    estimate: Mapped[float] = mapped_column(Float(53))
    relative_error: Mapped[float] = mapped_column(Float(53))
    abs_relative_error: Mapped[float] = mapped_column(Float(53))
    group: Mapped[int | None] = mapped_column(BigInteger)
    holdout: Mapped[bool]
    price: Mapped[float | None] = mapped_column(Float(53))


class StoredArtifact(Base):
    """One file of a result."""

    __tablename__ = "artifacts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    content_type: Mapped[str]
    storage_key: Mapped[str]


class StoredCheckpoint(Base):
    """The state of a run after `epoch` epochs."""

    __tablename__ = "checkpoints"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int]
    epoch: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    storage_key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=database_now())


class WebhookMessage(Base):
    """What is to be told to the `webhook_url` of a job that has ended, and whether it was; due never: given up."""

    __tablename__ = "webhook_messages"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime | None] = mapped_column(default=database_now(), index=True)
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    delivered_at: Mapped[datetime | None]


class WebhookSecret(Base):
    """What a tenant's webhooks are signed with."""

    __tablename__ = "webhook_secrets"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[str]
    previous: Mapped[str | None]  # what it took the place of; signs beside it for a while
    created_at: Mapped[datetime] = mapped_column(default=database_now())


class Worker(Base):
    """A worker process that was seen."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    queues: Mapped[list[Any]]
    device: Mapped[str]
    kinds: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    versions: Mapped[dict[str, Any]]
    started_at: Mapped[datetime] = mapped_column(default=database_now())
    seen_at: Mapped[datetime] = mapped_column(default=database_now())
