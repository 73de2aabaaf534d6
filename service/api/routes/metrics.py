"""Loss curves, bucketed in SQL."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from service.api.dependencies import KeptJob, TheSystem
from service.api.pagination import LARGEST_INTEGER
from service.jobs import traces

router = APIRouter(prefix="/v1/jobs", tags=["results"])


@router.get("/{job_id}/metrics")
def get_metrics(
    system: TheSystem,
    job: KeptJob,
    keys: Annotated[
        str | None, Query(max_length=2000, description="Names separated by commas; all by default.")
    ] = None,
    from_step: Annotated[int, Query(ge=0, le=LARGEST_INTEGER)] = 0,
    to_step: Annotated[int | None, Query(ge=0, le=LARGEST_INTEGER)] = None,
    max_points: Annotated[int, Query(ge=1, le=10_000, description="Most points a curve.")] = 1000,
) -> dict[str, Any]:
    """Give curves: step, last, min and max of each bucket, and n, the number of points recorded."""
    with system.database.reading() as session:
        present = traces.metric_keys(session, job.id)
        wanted = present if keys is None else [key for key in keys.split(",") if key in present]
        return {
            "metrics": {
                key: _curve(
                    traces.curve(session, job.id, key, from_step=from_step, to_step=to_step, max_points=max_points),
                    traces.point_count(session, job.id, key),
                )
                for key in wanted
            }
        }


def _curve(rows: list[tuple[int, float | None, float | None, float | None]], n: int) -> dict[str, Any]:
    step, last, low, high = zip(*rows, strict=True) if rows else ((), (), (), ())
    return {"step": list(step), "last": list(last), "min": list(low), "max": list(high), "n": n}
