"""The values that pass between the doors and the life of a job."""

import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ResumeFrom:
    """Where a new job begins: at a checkpoint of another one, by its id or the latest."""

    job_id: str
    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """What a client asked for, validated; `device` is already cpu or cuda, `asked_device` what the client said."""

    kind: str
    problem_id: str
    hyperparameters: dict[str, Any]
    seed: int
    device: str
    log_every: int | None = None
    checkpoint_every: int | None = None
    deadline_seconds: float | None = None
    max_attempts: int = 3
    tags: dict[str, str] = field(default_factory=dict)
    asked_device: str | None = None
    webhook_url: str | None = None
    resume_from: ResumeFrom | None = None
    retry_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerIdentity:
    """Who claims: id, machine, queues it serves, device its jobs run on, the version it knows of each kind."""

    id: str
    host: str
    queues: tuple[str, ...]
    device: str
    versions: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CheckpointRef:
    """A checkpoint in the store."""

    epoch: int
    storage_key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The checkpoint a job begins with, in the job's own keeping, and the run it is of.

    `same_run`: of a run of the same request, which is taken up again to the bit; else the new run goes on from where
    that one stood, with settings of its own.
    """

    job_id: str
    checkpoint_id: str
    same_run: bool
    checkpoint: CheckpointRef


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A .npy on this machine with the weights of all units, and the checkpoint they are of; None for a result's.

    The same `version` (a digest, or the checkpoint's id) means the same weights.
    """

    path: Path
    version: str
    checkpoint_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecordsFile:
    """A .npy on this machine with the rows of a table; the same `version`, a digest, means the same rows."""

    path: Path
    version: str


@dataclass(frozen=True, kw_only=True)
class ArtifactRef:
    """An artifact in the store."""

    name: str
    storage_key: str
    sha256: str
    size_bytes: int
    content_type: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A job that this worker holds: `token` fences every later write."""

    job_id: str
    token: str
    attempt: int
    max_attempts: int
    kind: str
    problem_key: str
    problem_sha256: str
    hyperparameters: dict[str, Any]
    seed: int
    device: str
    log_every: int | None
    checkpoint_every: int | None
    deadline_seconds: float | None
    deadline_in_seconds: float | None
    checkpoint: CheckpointRef | None
    continues: bool = False  # the checkpoint is another run's


@dataclass(frozen=True, kw_only=True)
class EventNote:
    """An event to be numbered and kept; `seen_at` is when it was seen on this process's monotonic clock.

    `logged` is what only the log says of it: not for the client.
    """

    type: str
    message: str
    data: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, Any] = field(default_factory=dict)
    seen_at: float = field(default_factory=time.monotonic)

    @property
    def age_seconds(self) -> float:
        """How long ago it was seen."""
        return time.monotonic() - self.seen_at


@dataclass(kw_only=True)
class Batch:
    """What a run has reported since the last flush."""

    stage: str | None = None
    progress: dict[str, Any] | None = None
    versions: dict[str, str] | None = None
    metrics: list[tuple[int, dict[str, float | None]]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[CheckpointRef] = field(default_factory=list)
    events: list[EventNote] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt ended without a result; `retry` where another attempt may do better."""

    code: str
    detail: str
    title: str = "The job failed"
    retry: bool = False
    pointer: str = ""


def attempt_prefix(job_id: str, token: str) -> str:
    """Give how the storage keys of an attempt's files begin; another attempt's never collide with them.

    >>> attempt_prefix("job_1", "0123456789abcdef")
    'jobs/job_1/0123456789ab/'
    """
    return f"jobs/{job_id}/{token[:12]}/"


class Directive(Enum):
    """What a worker is told when it reports."""

    GO_ON = "go_on"
    CANCEL = "cancel"
    LOST = "lost"
