"""Is the process up, and can it do its work?"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from service.api.dependencies import Tenant, TheSystem
from service.jobs import repository, workers
from service.logging import log
from service.system import System

router = APIRouter(tags=["system"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer while the process lives, even while every thread is at work."""
    return {"status": "ok"}


@router.get("/health", include_in_schema=False)
async def health() -> dict[str, str]:
    """Answer as /healthz does."""
    return await healthz()


@router.post("/ping", include_in_schema=False)
async def ping() -> dict[str, str]:
    """Answer as /healthz does."""
    return await healthz()


@router.get("/readyz", responses={503: {"description": "Something that is needed is missing; each check says what."}})
def readyz(system: TheSystem) -> JSONResponse:
    """Check database, storage, broker and workers, each listed; 503 if one fails."""
    checks = {name: _outcome(name, check, system) for name, check in _CHECKS.items()}
    ready = all(check["ok"] for check in checks.values())
    return JSONResponse({"status": "ready" if ready else "not_ready", "checks": checks}, 200 if ready else 503)


def _outcome(name: str, check: Callable[[System], None], system: System) -> dict[str, Any]:
    try:
        check(system)
    except Exception as error:  # noqa: BLE001 - whatever fails is what is reported
        log.warning("not_ready", check=name, error=str(error))
        return {"ok": False, "detail": _ADVICE[name]}
    return {"ok": True}


def _database(system: System) -> None:
    system.database.check_writable()


def _storage(system: System) -> None:
    system.store.check_writable()


def _broker(system: System) -> None:
    system.queue.check_reachable()


def _worker(system: System) -> None:
    with system.database.reading() as session:
        if not workers.workers_seen(session, system.settings.worker_seen_seconds):
            raise LookupError("no worker was seen lately")


_CHECKS = {"database": _database, "storage": _storage, "broker": _broker, "worker": _worker}
_ADVICE = {
    "database": "the database takes no writes",
    "storage": "the store takes no files",
    "broker": "the broker does not answer; jobs are accepted and run once it is back",
    "worker": "no worker was seen lately; jobs wait until one is started",
}


@router.get("/v1/workers")
def list_workers(system: TheSystem, tenant: Tenant) -> dict[str, Any]:
    """Give the workers seen lately: what each may run, whether it runs something, and which jobs of the caller's."""
    with system.database.reading() as session:
        seen = workers.workers_seen(session, system.settings.worker_seen_seconds)
        held = repository.held_by_workers(session)
    return {
        "data": [
            {
                "id": worker.id,
                "host": worker.host,
                "queues": worker.queues,
                "device": worker.device,
                "kinds": worker.kinds,
                "busy": worker.id in held,
                "jobs": [job_id for owner, job_id in held.get(worker.id, []) if owner == tenant],
                "versions": worker.versions,
                "started_at": worker.started_at,
                "seen_at": worker.seen_at,
            }
            for worker in seen
        ]
    }
