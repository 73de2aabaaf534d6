"""What a calibration gives: weights, predictions, the fit of every target."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Query, Request
from numpy.typing import NDArray
from sqlalchemy import ColumnElement
from starlette.responses import Response, StreamingResponse

from service.api.dependencies import Checkpoint, SucceededJob, Tenant, TheSystem, WeightedJob
from service.api.pagination import LARGEST_INTEGER, Cursor, Limit, bad_cursor, decode, page
from service.api.sound_json import SoundJsonRoute, refusal
from service.errors import NotAcceptable
from service.jobs import results, traces
from service.jobs.models import TargetRow
from service.jobs.results import ActiveWeights
from service.jobs.values import WeightsFile
from service.problems import intake
from service.problems.requests import MatrixBody
from service.problems.trusted import npy_bytes

router = APIRouter(prefix="/v1/jobs", tags=["results"], route_class=SoundJsonRoute)
_CHUNK = 50_000
_QUALITY = re.compile(r"[01](\.\d{0,3})?")


@router.get("/{job_id}/weights", response_model=None)
def get_weights(
    system: TheSystem,
    request: Request,
    job: WeightedJob,
    checkpoint: Checkpoint = None,
    active_only: Annotated[bool, Query(description="Only units with a positive weight, by index.")] = True,
    format: Annotated[str | None, Query(max_length=20, description="json, npy or csv; else by Accept.")] = None,  # noqa: A002
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Give the calibrated weights in float64."""
    write = _FORMATS[_format(format, accept)]
    with results.weights_file(system, job, checkpoint) as file:
        response = write(results.active_weights(file) if active_only else results.dense_weights(file))
    response.headers.update(_source(request, file))
    return response


def _source(request: Request, file: WeightsFile) -> dict[str, str]:
    """Say which checkpoint `latest` was: where the same numbers are to be had again."""
    if file.checkpoint_id is None:
        return {}
    same = request.url.include_query_params(checkpoint=file.checkpoint_id)
    return {"Content-Location": f"{same.path}?{same.query}"}


@router.get("/{job_id}/predictions")
def get_predictions(
    system: TheSystem, request: Request, response: Response, job: WeightedJob, checkpoint: Checkpoint = None
) -> dict[str, Any]:
    """Give M w on the job's own targets."""
    if checkpoint is not None:
        with results.weights_file(system, job, checkpoint) as file:
            response.headers.update(_source(request, file))
            return results.partial_predictions(system, job, file)
    with system.database.reading() as session:
        rows = traces.predictions(session, job)
    return {"names": [name for name, _ in rows], "values": [value for _, value in rows]}


@router.post("/{job_id}/predictions")
def predict(
    body: MatrixBody,
    system: TheSystem,
    tenant: Tenant,
    request: Request,
    response: Response,
    job: WeightedJob,
    checkpoint: Checkpoint = None,
) -> dict[str, Any]:
    """Give the calibrated totals of another matrix over the same units."""
    with results.weights_file(system, job, checkpoint) as file:
        response.headers.update(_source(request, file))
        return {"values": intake.multiply(system, tenant, body, file.path)}


@router.get("/{job_id}/targets")
def get_targets(
    system: TheSystem,
    job: SucceededJob,
    sort: Annotated[str, Query(max_length=40, description="A column, with - for descending.")] = "index",
    holdout: Annotated[bool | None, Query(description="Only held-out targets, or only those of the fit.")] = None,
    group: Annotated[
        int | None, Query(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER, description="Only targets of this group.")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Give every target's fit before and after."""
    column, descending = _sort_column(sort)
    where = [] if holdout is None else [TargetRow.holdout == holdout]
    where += [] if group is None else [TargetRow.group == group]
    where += [_after(column, cursor, sort)] if cursor else []
    order = [column.desc(), TargetRow.index.desc()] if descending else [column.asc(), TargetRow.index.asc()]
    with system.database.reading() as session:
        rows = traces.target_rows(session, job, where=where, order=order, limit=limit + 1)
    place = [sort, getattr(rows[limit - 1], column.key), rows[limit - 1].index] if len(rows) > limit else None
    return page([_target_view(row) for row in rows], limit, place)


_TARGET_COLUMNS = ("index", "name", "value", "initial_estimate", "estimate", "relative_error", "abs_relative_error")
_TARGET_FIELDS = (*_TARGET_COLUMNS, "group", "holdout", "price")


def _target_view(row: TargetRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _TARGET_FIELDS}


def _sort_column(sort: str) -> tuple[Any, bool]:
    name = sort.removeprefix("-")
    if name not in _TARGET_COLUMNS:
        text = f"sort must be one of {', '.join(_TARGET_COLUMNS)}, with - in front for descending order"
        raise refusal(text, "/sort")
    return getattr(TargetRow, name), sort.startswith("-")


def _after(column: Any, cursor: str, sort: str) -> ColumnElement[bool]:
    """Everything past the place of the cursor: by the column, then by index."""
    value, index = _place(cursor, sort, str if column.key == "name" else float)
    descending = sort.startswith("-")
    if descending:
        beyond, later = column < value, TargetRow.index < index
    else:
        beyond, later = column > value, TargetRow.index > index
    past: ColumnElement[bool] = beyond | ((column == value) & later)
    return past


def _place(cursor: str, sort: str, kind: type[str] | type[float]) -> tuple[str | float, int]:
    """Give the value and the index in a cursor that was made for this order."""
    match decode(cursor):
        case [order, str() | int() | float() as value, int() as index] if order == sort:
            try:
                place = kind(value)
            except (ValueError, OverflowError):
                raise bad_cursor() from None
            if abs(index) <= LARGEST_INTEGER:
                return place, index
    raise bad_cursor()


def _format(asked: str | None, accept: str | None) -> str:
    if asked is not None:
        if asked not in _FORMATS:
            raise NotAcceptable(f"format must be one of {', '.join(_FORMATS)}")
        return asked
    for media_type in _by_liking(accept or "*/*"):
        if media_type in _MEDIA_TYPES:
            return _MEDIA_TYPES[media_type]
    raise NotAcceptable(f"Accept must allow one of {', '.join(_MEDIA_TYPES)}")


def _by_liking(accept: str) -> list[str]:
    """Give the media types of an Accept header, the best liked first, without those of quality 0.

    >>> _by_liking("application/json;q=0.1, text/csv, text/html;q=0")
    ['text/csv', 'application/json']
    """
    liked = sorted(map(_liking, accept.split(",")), reverse=True, key=lambda pair: pair[1])
    return [media_type for media_type, q in liked if q > 0]


def _liking(part: str) -> tuple[str, float]:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    q = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    return media_type, float(q) if _QUALITY.fullmatch(q) else 0.0


Weights = ActiveWeights | NDArray[np.float64]


def _json(weights: Weights) -> Response:
    return StreamingResponse(_json_parts(weights), media_type="application/json")


def _json_parts(weights: Weights) -> Iterator[str]:
    if isinstance(weights, ActiveWeights):
        yield '{"indices": ['
        yield from _numbers(weights.indices)
        yield '], "values": ['
        yield from _numbers(weights.values)
        yield f'], "count": {weights.indices.size}, "n_units": {weights.n_units}}}'
        return
    yield '{"values": ['
    yield from _numbers(weights)
    yield f'], "n_units": {weights.size}}}'


def _numbers(array: NDArray[Any]) -> Iterator[str]:
    for start in range(0, array.size, _CHUNK):
        yield (", " if start else "") + json.dumps(array[start : start + _CHUNK].tolist())[1:-1]


def _npy(weights: Weights) -> Response:
    return Response(npy_bytes(_table(weights)), media_type="application/x-npy")


def _table(weights: Weights) -> NDArray[Any]:
    if not isinstance(weights, ActiveWeights):
        return weights
    table = np.empty(weights.indices.size, dtype=[("index", "<i8"), ("weight", "<f8")])
    table["index"], table["weight"] = weights.indices, weights.values
    return table


def _csv(weights: Weights) -> Response:
    return StreamingResponse(_csv_parts(weights), media_type="text/csv; charset=utf-8")


def _csv_parts(weights: Weights) -> Iterator[str]:
    indices, values = (
        (weights.indices, weights.values)
        if isinstance(weights, ActiveWeights)
        else (np.arange(weights.size, dtype=np.int64), weights)
    )
    yield "index,weight\n"
    for start in range(0, indices.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        yield "".join(f"{i},{w!r}\n" for i, w in zip(indices[part].tolist(), values[part].tolist(), strict=True))


_FORMATS: dict[str, Callable[[Weights], Response]] = {"json": _json, "npy": _npy, "csv": _csv}
_MEDIA_TYPES = {
    "*/*": "json",
    "application/*": "json",
    "application/json": "json",
    "application/x-npy": "npy",
    "text/csv": "csv",
    "text/*": "csv",
}
