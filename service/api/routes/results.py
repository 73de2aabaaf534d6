"""What a result gives: weights, predictions, the fit of every target."""

from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Query, Request
from sqlalchemy import ColumnElement
from starlette.responses import Response

from l0core.inputs import MatrixInput
from l0core.kinds import KINDS
from service.api.dependencies import Checkpoint, SucceededJob, Tenant, TheSystem, WeightedJob
from service.api.negotiation import chosen, rendered_as
from service.api.pagination import LARGEST_INTEGER, Cursor, Limit, bad_cursor, decode, page
from service.api.questions import asked_of
from service.api.rendering import etag_of, rendered
from service.api.sound_json import SoundJsonRoute, refusal
from service.api.weight_formats import FORMATS
from service.errors import NotFound
from service.jobs import results, traces
from service.jobs.models import Job, TargetRow
from service.jobs.values import WeightsFile
from service.problems import intake
from service.problems.requests import MatrixBody, PredictionBody

router = APIRouter(prefix="/v1/jobs", tags=["results"], route_class=SoundJsonRoute)


@router.get("/{job_id}/weights", response_model=None, responses=rendered_as(FORMATS))
def get_weights(
    system: TheSystem,
    request: Request,
    job: WeightedJob,
    checkpoint: Checkpoint = None,
    active_only: Annotated[bool, Query(description="Only units with a positive weight, by index.")] = True,
    format: Annotated[str | None, Query(max_length=20, description=f"{', '.join(FORMATS)}; else by Accept.")] = None,  # noqa: A002
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Give the calibrated weights in float64."""
    name = chosen(FORMATS, format, accept)
    with results.weights_file(system, job, checkpoint) as file:
        give = results.active_weights if active_only else results.dense_weights
        return rendered(
            request,
            system.store,
            lambda target: FORMATS[name].write(give(file), target),
            etag=etag_of(file.version, name, active_only),
            media_type=FORMATS[name].media_type,
            headers=_source(request, file),
        )


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
    if KINDS[job.kind].weights is None:
        raise NotFound(f"a {job.kind} job predicts nothing by itself; POST it what to answer about")
    with system.database.reading() as session:
        rows = traces.predictions(session, job)
    return {"names": [name for name, _ in rows], "values": [value for _, value in rows]}


@router.post("/{job_id}/predictions")
def predict(
    body: dict[str, Any],
    system: TheSystem,
    tenant: Tenant,
    request: Request,
    response: Response,
    job: WeightedJob,
    checkpoint: Checkpoint = None,
) -> dict[str, Any]:
    """Give what the result says about new data, asked as its kind is: of a weighting, totals over the same units."""
    kind = KINDS[job.kind]
    asked = asked_of(kind, body)
    if kind.question is not None:
        return results.answer(system, tenant, _with_result(job, checkpoint), kind.question, asked)
    with results.weights_file(system, job, checkpoint) as file:
        response.headers.update(_source(request, file))
        return _totals(system, tenant, cast("PredictionBody", asked), file)


def _with_result(job: Job, checkpoint: str | None) -> Job:
    if checkpoint is not None:
        raise NotFound(f"a {job.kind} job's checkpoints answer no questions; its result does, without checkpoint")
    return job


def _totals(system: TheSystem, tenant: str, asked: PredictionBody, file: WeightsFile) -> dict[str, Any]:
    if asked.problem_id is not None:
        return results.predictions_of_problem(system, tenant, asked.problem_id, file)
    return {"values": intake.multiply(system, tenant, MatrixBody(matrix=cast("MatrixInput", asked.matrix)), file.path)}


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
