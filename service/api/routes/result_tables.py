"""The tables of results: a route for every name that a kind declares, made from the list of kinds."""

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from l0core.kind import Kind
from l0core.kinds import KINDS
from service.api.dependencies import KeptJob, TheSystem, succeeded
from service.api.negotiation import chosen, rendered_as
from service.api.record_formats import FORMATS, Records
from service.api.rendering import etag_of, rendered
from service.jobs import results

_Format = Annotated[str | None, Query(max_length=20, description=f"{', '.join(FORMATS)}; else by Accept.")]


def router_of(kinds: Mapping[str, Kind]) -> APIRouter:
    """Give a route for each name of a table: `GET /v1/jobs/{id}/{name}`."""
    made = APIRouter(prefix="/v1/jobs", tags=["results"])
    for name in dict.fromkeys(name for kind in kinds.values() for name in kind.tables):
        made.add_api_route(
            f"/{{job_id}}/{name}",
            _giving(name),
            name=f"get_{name}",
            summary=f"Get {name.replace('_', ' ').capitalize()}",
            response_model=None,
            responses=rendered_as(FORMATS),
        )
    return made


def _giving(name: str) -> Callable[..., Response]:
    """Give what answers for the table `name`."""

    def give(
        system: TheSystem,
        request: Request,
        job: KeptJob,
        format: _Format = None,  # noqa: A002
        accept: Annotated[str | None, Header()] = None,
    ) -> Response:
        table = results.table_of(job, name)
        form = chosen(FORMATS, format, accept)
        with results.records_file(system, succeeded(job), table) as file:
            return rendered(
                request,
                system.store,
                lambda target: FORMATS[form].write(Records(rows=results.records(file), columns=table.columns), target),
                etag=etag_of(file.version, name, form),
                media_type=FORMATS[form].media_type,
                headers={},
            )

    give.__doc__ = f"Give the {name.replace('_', ' ')} of a result: a column a field, one row each."
    return give


router = router_of(KINDS)
