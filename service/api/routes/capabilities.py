"""What this service takes, gives and is."""

import platform
from typing import Any

from fastapi import APIRouter

from l0core.kinds import KINDS
from l0core.version import VERSION
from service.api import record_formats, weight_formats
from service.api.dependencies import TheSystem
from service.api.routes.jobs import LONGEST_WAIT
from service.jobs import workers
from service.problems.content_types import UPLOAD_CONTENT_TYPES
from service.settings import Settings

router = APIRouter(prefix="/v1/capabilities", tags=["system"])


@router.get("")
def get_capabilities(system: TheSystem) -> dict[str, Any]:
    """Give limits, formats, kinds of job, the devices of the workers seen lately, and versions."""
    with system.database.reading() as session:
        seen = workers.workers_seen(session, system.settings.worker_seen_seconds)
    return {
        "kinds": list(KINDS),
        "devices": sorted({"cuda" if "gpu" in worker.queues else "cpu" for worker in seen}),
        "limits": _limits(system.settings),
        "formats": {
            "uploads": list(UPLOAD_CONTENT_TYPES),
            "weights": {name: format_.media_type for name, format_ in weight_formats.FORMATS.items()},
            "tables": {name: format_.media_type for name, format_ in record_formats.FORMATS.items()},
        },
        "versions": {
            "service": VERSION,
            "python": platform.python_version(),
            "engines": sorted({worker.versions.get("engine", "") for worker in seen} - {""}),
        },
    }


def _limits(settings: Settings) -> dict[str, float]:
    return {
        "upload_bytes": settings.max_upload_bytes,
        "body_bytes": settings.max_body_bytes,
        "nonzeros": settings.max_nonzeros,
        "units": settings.max_units,
        "targets": settings.max_targets,
        "wait_seconds": LONGEST_WAIT,
        "retention_days": settings.retention_days,
        "upload_hours": settings.upload_hours,
    }
