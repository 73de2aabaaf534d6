"""The checkpoints of a job: listed, the newest first. What they hold is asked for where a result's weights are."""

from typing import Any

from fastapi import APIRouter

from service.api.dependencies import KeptJob, TheSystem
from service.jobs import traces
from service.jobs.models import StoredCheckpoint

router = APIRouter(prefix="/v1/jobs", tags=["results"])


@router.get("/{job_id}/checkpoints")
def list_checkpoints(system: TheSystem, job: KeptJob) -> dict[str, Any]:
    """Give the checkpoints that are kept, the last few, whatever became of the job."""
    with system.database.reading() as session:
        return {"data": [_view(checkpoint) for checkpoint in traces.checkpoints(session, job.id)]}


def _view(checkpoint: StoredCheckpoint) -> dict[str, Any]:
    return {
        "id": checkpoint.id,
        "epoch": checkpoint.epoch,
        "attempt": checkpoint.attempt,
        "size_bytes": checkpoint.size_bytes,
        "sha256": checkpoint.sha256,
        "created_at": checkpoint.created_at,
    }
