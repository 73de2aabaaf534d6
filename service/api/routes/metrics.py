"""Loss curves, bucketed in SQL."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from service.api.dependencies import KeptJob, TheSystem
from service.api.pagination import LARGEST_INTEGER
from service.api.responses import Json
from service.jobs import curves
from service.jobs.curves import Curve

router = APIRouter(prefix="/v1/jobs", tags=["results"])


@router.get("/{job_id}/metrics", response_model=dict[str, Any])
def get_metrics(
    system: TheSystem,
    job: KeptJob,
    keys: Annotated[
        str | None, Query(max_length=2000, description="Names separated by commas; all by default.")
    ] = None,
    from_step: Annotated[int, Query(ge=0, le=LARGEST_INTEGER)] = 0,
    to_step: Annotated[int | None, Query(ge=0, le=LARGEST_INTEGER)] = None,
    max_points: Annotated[int, Query(ge=1, le=10_000, description="Most points a curve.")] = 1000,
) -> Response:
    """Give curves: step, last, min and max of each bucket, and n, the number of points recorded."""
    with system.database.reading() as session:
        present = curves.metric_keys(session, job.id)
        wanted = present if keys is None else [key for key in keys.split(",") if key in present]
        found = curves.curves(session, job.id, wanted, from_step=from_step, to_step=to_step, max_points=max_points)
    return Json({"metrics": {key: _view(curve) for key, curve in found.items()}})


def _view(curve: Curve) -> dict[str, Any]:
    return {"step": curve.step, "last": curve.last, "min": curve.low, "max": curve.high, "n": curve.n}
