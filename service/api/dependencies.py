"""What routes are handed: the system, the caller's tenant, their job; and what must hold before they are called."""

from functools import lru_cache
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Path, Query, Request
from starlette.concurrency import run_in_threadpool

from service.api.access import caller_of, check_scope
from service.api.listing import JobLists
from service.api.reading import JobReader
from service.api.sound_json import is_storable, json_pointer, refusal
from service.auth.callers import Scope
from service.errors import Conflict, Gone, Misdirected, NotFound
from service.jobs.models import Job
from service.jobs.quotas import Room
from service.jobs.states import Status
from service.settings import Settings
from service.system import System


async def check_address(request: Request) -> None:
    """Refuse, after `check_host`, what no database can hold, and a question that the route does not know."""
    await check_host(request)
    if not all(is_storable(str(value)) for value in request.path_params.values()):
        raise NotFound("there is nothing by that name")
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    for name, value in request.query_params.multi_items():
        if not is_storable(name + value):
            raise refusal(f"{name}: it holds a control character (NUL)", json_pointer([name]))
        if name not in known and name.lower() in _NAMES_OF_KEYS:
            raise refusal(f"{name}: {_KEY_IN_ADDRESS}", json_pointer([name]))
        if name not in known and not name.startswith(_open_names(request)):
            raise refusal(f"{name[:64]}: this path knows no such question", json_pointer([name]))


def _open_names(request: Request) -> tuple[str, ...]:
    """Give the beginnings of the names that the route takes whatever follows: `tag.`."""
    parameters = (request.scope["route"].openapi_extra or {}).get("parameters", ())
    return tuple(parameter["x-prefix"] for parameter in parameters if "x-prefix" in parameter)


_NAMES_OF_KEYS = frozenset({"api_key", "apikey", "access_token", "authorization", "key", "token"})
_KEY_IN_ADDRESS = (
    "a key belongs into the header Authorization: Bearer, never into an address, which logs keep; revoke that one"
)
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


async def check_host(request: Request) -> None:
    """Refuse, on loopback, a request under another name: a page elsewhere may have let its own name point here.

    Where keys are asked for such a page has none, and a proxy on this machine may pass the public name on.
    """
    settings: Settings = request.app.state.system.settings
    if settings.asks_for_keys:
        return
    if settings.on_loopback and _hostname(request.headers.get("host", "")) not in (*_LOOPBACK_NAMES, settings.host):
        raise Misdirected("this service answers to localhost only; use http://127.0.0.1 and its port")


@lru_cache(maxsize=256)
def _hostname(host: str) -> str | None:
    """Give the name in a Host header.

    >>> _hostname("LocalHost:8000"), _hostname("[::1]:8000")
    ('localhost', '::1')
    """
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


async def _system(request: Request) -> System:
    system: System = request.app.state.system
    return system


async def _tenant(request: Request) -> str:
    return caller_of(request).tenant


async def _admin(request: Request) -> None:
    check_scope(caller_of(request), Scope.ADMIN)


async def _write(request: Request) -> None:
    check_scope(caller_of(request), Scope.WRITE)


async def _room(request: Request) -> None:
    room: Room | None = request.app.state.room
    if room is not None:
        length = request.headers.get("content-length", "0")
        n_bytes = int(length) if length.isdecimal() else 0
        await run_in_threadpool(room.take, caller_of(request).tenant, n_bytes)


def reader_of(request: Request) -> JobReader:
    """Give the reader of jobs; a call, since a dependency more costs each request a twentieth of a millisecond."""
    reader: JobReader = request.app.state.reader
    return reader


def lists_of(request: Request) -> JobLists:
    """Give the lists of jobs."""
    lists: JobLists = request.app.state.lists
    return lists


TheSystem = Annotated[System, Depends(_system)]
Tenant = Annotated[str, Depends(_tenant)]
NEEDS_ADMIN = Depends(_admin)  # for `dependencies=` of a route that tells or changes what is not one tenant's own
NEEDS_WRITE = Depends(_write)  # of a GET that tells what only those may know who write
NEEDS_ROOM = Depends(_room)  # for `dependencies=` of a route that keeps bytes or makes a job
JobId = Annotated[str, Path(description="Id of a job.", max_length=64)]


async def _job(request: Request, tenant: Tenant, job_id: JobId) -> Job:
    return await reader_of(request).job(tenant, job_id)


TheJob = Annotated[Job, Depends(_job)]


def kept(job: Job) -> Job:
    """Give the job back; Gone where its results are past their time."""
    if job.expired_at is not None:
        text = f"the results of job '{job.id}' were kept as long as promised and are gone; GET the job for its summary"
        raise Gone(text, expired_at=job.expired_at)
    return job


async def _kept_job(job: TheJob) -> Job:
    return kept(job)


KeptJob = Annotated[Job, Depends(_kept_job)]


def succeeded(job: Job) -> Job:
    """Give the job back; Conflict where it has no result."""
    if job.status != Status.SUCCEEDED:
        raise Conflict(
            f"job '{job.id}' is {job.status}; it has no result yet or will have none", code="result_not_ready"
        )
    return job


async def _succeeded_job(job: KeptJob) -> Job:
    return succeeded(job)


SucceededJob = Annotated[Job, Depends(_succeeded_job)]


Checkpoint = Annotated[
    str | None,
    Query(max_length=64, description="latest, or the id of a checkpoint: what that holds, whatever became of the job."),
]


def _weighted_job(job: KeptJob, checkpoint: Checkpoint = None) -> Job:
    if checkpoint is None and job.status != Status.SUCCEEDED:
        text = (
            f"job '{job.id}' is {job.status}; it has no result yet or will have none: checkpoint=latest gives what its "
            "last checkpoint holds"
        )
        raise Conflict(text, code="result_not_ready")
    return job


WeightedJob = Annotated[Job, Depends(_weighted_job)]
