"""A job as the world sees it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from l0core.kinds import KINDS
from service.jobs.models import Job
from service.jobs.states import Status

_STALLED_SECONDS = 30.0
_ANNOUNCED = ("id", "kind", "status", "problem_id", "tags", "created_at", "finished_at", "summary", "error", "links")


def job_view(job: Job) -> dict[str, Any]:
    """Give the body of `GET /v1/jobs/{id}`."""
    return {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "stage": job.stage,
        "progress": job.progress,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "stalled": _is_stalled(job),
        "cancel_requested_at": job.cancel_requested_at,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "heartbeat_at": job.heartbeat_at,
        "expired_at": job.expired_at,
        "problem_id": job.problem_id,
        "problem_sha256": job.problem_sha256,
        "hyperparameters": job.hyperparameters,
        "seed": job.seed,
        "device": job.device,
        "versions": job.versions,
        "summary": job.summary,
        "error": job.error,
        "tags": job.tags,
        "webhook_url": job.webhook_url,
        "retry_of": job.retry_of,
        "resumed_from": job.resumed_from,
        "version": job.version,
        "links": _links(job),
    }


def announcement(job: Job) -> bytes:
    """Give what the webhook of an ended job is told: the same bytes as often as it is asked for."""
    shown = job_view(job)
    data = {name: shown[name] for name in _ANNOUNCED}
    body = {"type": f"job.{job.status}", "timestamp": job.finished_at, "data": data}
    return to_json(body, inf_nan_mode="null")


def _is_stalled(job: Job) -> bool:
    """Say whether a running job has shown no sign of life for the time of a lease."""
    if job.status != Status.RUNNING or job.heartbeat_at is None:
        return False
    return (datetime.now(UTC) - job.heartbeat_at).total_seconds() > _STALLED_SECONDS


def _links(job: Job) -> dict[str, str]:
    base = f"/v1/jobs/{job.id}"
    parts = ("cancel", "events", "findings", "metrics", *_results(job.kind), "checkpoints", "artifacts")
    return {"self": base, **{part: f"{base}/{part}" for part in parts}, "page": f"/#job={job.id}"}


def _results(name: str) -> Iterator[str]:
    """Give what results of a kind have, beside files; of one that is not known here, nothing."""
    kind = KINDS.get(name)
    if kind is None:
        return
    if kind.weights is not None:
        yield "weights"
    if kind.weights is not None or kind.question is not None:
        yield "predictions"
    if kind.targets is not None:
        yield "targets"
    yield from kind.tables
