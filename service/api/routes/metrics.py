"""Loss curves: bucketed in SQL as JSON, or every point as a table."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Header, Query, Request, Response

from service.api.dependencies import KeptJob, TheSystem
from service.api.negotiation import Format, chosen, rendered_as
from service.api.pagination import LARGEST_INTEGER
from service.api.rendering import etag_of, rendered
from service.api.responses import Json
from service.api.table_formats import write_csv, write_parquet
from service.api.tables import Table, Writer
from service.jobs import curves
from service.jobs.curves import Curve
from service.jobs.models import Job

router = APIRouter(prefix="/v1/jobs", tags=["results"])
_TYPES = {"key": "string", "step": "int64", "value": "float64"}
_TABLES: dict[str, Format[Writer]] = {
    "csv": Format(media_type="text/csv; charset=utf-8", write=write_csv),
    "parquet": Format(media_type="application/vnd.apache.parquet", write=write_parquet),
}
_JSON: Format[None] = Format(media_type="application/json", write=None)
_FORMATS: Mapping[str, Format[Any]] = {"json": _JSON, **_TABLES}


@router.get("/{job_id}/metrics", response_model=None, responses=rendered_as(_FORMATS))
def get_metrics(
    request: Request,
    system: TheSystem,
    job: KeptJob,
    keys: Annotated[
        str | None, Query(max_length=2000, description="Names separated by commas; all by default.")
    ] = None,
    from_step: Annotated[int, Query(ge=0, le=LARGEST_INTEGER, description="First step of interest.")] = 0,
    to_step: Annotated[int | None, Query(ge=0, le=LARGEST_INTEGER, description="Last step of interest.")] = None,
    max_points: Annotated[int, Query(ge=1, le=10_000, description="Most points a curve, of JSON.")] = 1000,
    format: Annotated[str | None, Query(max_length=20, description=f"{', '.join(_FORMATS)}; else by Accept.")] = None,  # noqa: A002
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Give curves: step, last, min and max of each bucket, and n, the points recorded; as a table, every point."""
    name = chosen(_FORMATS, format, accept)
    with system.database.reading() as session:
        present = curves.metric_keys(session, job.id)
        wanted = present if keys is None else [key for key in keys.split(",") if key in present]
        if name == "json":
            found = curves.curves(session, job.id, wanted, from_step=from_step, to_step=to_step, max_points=max_points)
            return Json({"metrics": {key: _view(curve) for key, curve in found.items()}}, headers={"Vary": "Accept"})
    return rendered(
        request,
        system.store,
        partial(_write, system, job, wanted, (from_step, to_step), _TABLES[name].write),
        etag=etag_of(job.id, *job.moves, name, wanted, from_step, to_step),
        media_type=_TABLES[name].media_type,
        headers={},
    )


def _write(
    system: TheSystem, job: Job, keys: list[str], steps: tuple[int, int | None], write: Writer, file: BinaryIO
) -> None:
    with system.database.reading() as session:
        rows = curves.points(session, job.id, keys, *steps)
        chunks = (dict(zip(_TYPES, part, strict=True)) for part in rows)
        write(Table(types=_TYPES, chunks=chunks), file)


def _view(curve: Curve) -> dict[str, Any]:
    return {"step": curve.step, "last": curve.last, "min": curve.low, "max": curve.high, "n": curve.n}
