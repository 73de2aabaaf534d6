"""The web application: middleware, error handlers, routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from l0core.version import VERSION
from service.api import errors
from service.api.access import Anonymous, Keyed
from service.api.callers import Callers
from service.api.dependencies import check_address, check_host
from service.api.document import document, name_of
from service.api.exposition import Watchtower
from service.api.heads import Heads
from service.api.instruments import Instruments, Measured
from service.api.listing import JobLists
from service.api.middleware import BodyLimit, RequestId, SecurityHeaders, Unexpected
from service.api.reading import JobReader
from service.api.routes import (
    artifacts,
    capabilities,
    checkpoints,
    compare,
    events,
    findings,
    health,
    job_acts,
    job_log,
    jobs,
    methods,
    metrics,
    pages,
    policyengine,
    problems,
    result_tables,
    results,
    scrape,
    uploads,
    webhooks,
)
from service.auth.guard import check_start
from service.auth.meter import Meter
from service.jobs.quotas import Room
from service.keeping.scratch import remove_leftovers
from service.logging import log
from service.settings import Settings
from service.system import System

WEB = Path(__file__).parent / "web"
_ROUTES = (  # what is asked most often comes first
    jobs,
    job_acts,
    events,
    health,
    scrape,
    methods,
    uploads,
    problems,
    findings,
    metrics,
    results,
    result_tables,
    checkpoints,
    artifacts,
    webhooks,
    job_log,
    compare,
    capabilities,
    policyengine,
    pages,
)


def _clear_up(system: System) -> None:
    """Remove what an API that was killed has left; that it cannot be done keeps nobody from being served."""
    try:
        remove_leftovers(system)
    except (OSError, SQLAlchemyError) as error:
        log.warning("leftovers_stay", error=str(error))


def create_app(settings: Settings) -> FastAPI:
    """Give the application for these settings; refuses to serve a network without keys."""
    check_start(settings)
    system = System.open(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(_clear_up, system)
        yield
        system.database.dispose()

    app = FastAPI(
        title="L0 calibration service",
        version=VERSION,
        summary="Household weights that reproduce published totals, with as few households as possible.",
        lifespan=lifespan,
        generate_unique_id_function=name_of,
        docs_url=None,  # both pages load scripts from elsewhere, which our policy forbids
        redoc_url=None,
    )
    app.openapi = partial(document, app)  # type: ignore[method-assign]
    _equip(app, system)
    errors.install(app)
    for module in _ROUTES:
        app.include_router(module.router, dependencies=[Depends(check_host if module is pages else check_address)])
    app.mount("/static", StaticFiles(directory=WEB), name="static")
    _wrap(app, system)
    return app


def _equip(app: FastAPI, system: System) -> None:
    """Give the application what its routes share."""
    settings = system.settings
    app.state.system = system
    app.state.watchtower = Watchtower(system)
    app.state.instruments = Instruments()
    system.queue.note_failure = app.state.instruments.publish_failures.inc
    app.state.reader = JobReader(system.database)
    app.state.lists = JobLists(system.database)
    app.state.routes = [route for module in _ROUTES for route in module.router.routes]
    app.state.room = Room.of(system) if settings.asks_for_keys and settings.quota_stored_bytes else None


def _wrap(app: FastAPI, system: System) -> None:
    """Put the middleware around it, the innermost first: who calls is settled before a byte of the body is read."""
    settings = system.settings
    app.add_middleware(Heads, routes=app.state.routes)
    app.add_middleware(
        BodyLimit,
        json_bytes=settings.max_body_bytes,
        upload_bytes=settings.max_upload_bytes,
        silence_seconds=settings.read_timeout_seconds,
    )
    _let_in(app, system)
    app.add_middleware(Unexpected)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestId)
    app.add_middleware(Measured, instruments=app.state.instruments)


def _let_in(app: FastAPI, system: System) -> None:
    settings = system.settings
    if not settings.asks_for_keys:
        app.add_middleware(Anonymous)
        return
    meter = Meter(settings.quota_requests_a_minute) if settings.quota_requests_a_minute else None
    callers = Callers(system.database)
    app.add_middleware(Keyed, callers=callers, meter=meter, largest_body=settings.max_body_bytes)
