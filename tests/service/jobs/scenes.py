"""Putting jobs into a real database and looking at what became of them, for every suite on jobs."""

import base64
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import redis
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from l0core.calibration.problem import CalibrationProblem
from l0core.kinds import KINDS
from service.db.base import database_now
from service.ids import new_id
from service.jobs import lifecycle, repository, traces
from service.jobs.models import Event, Job
from service.jobs.values import (
    ArtifactRef,
    Batch,
    CheckpointRef,
    Claim,
    Directive,
    EventNote,
    Failure,
    JobRequest,
    WorkerIdentity,
)
from service.problems import repository as problems
from service.problems.models import StoredProblem
from service.system import System

TENANT = "tenant-a"
LEASE = 30.0
WORKER = WorkerIdentity(id="wrk_one", host="here", queues=("cpu",), device="cpu", versions={"engine": "1"})
OTHER_WORKER = replace(WORKER, id="wrk_two")
RETRY = Failure(code="worker_lost", detail="the store did not answer", retry=True)
NO_RETRY = Failure(code="diverged", detail="the loss is not a number", retry=False)

T = TypeVar("T")


def write(system: System, verb: Callable[[Session], T]) -> T:
    """Run one verb in a transaction of its own."""
    with system.database.transaction() as session:
        return verb(session)


def keep_problem(
    system: System, problem: CalibrationProblem | None = None, *, tenant: str = TENANT, kind: str = "calibration"
) -> str:
    """List a problem, with its bytes where it is given; gives its id."""
    problem_id = new_id("prb")
    sha256 = problem.sha256 if problem else problem_id
    with system.database.reading() as session:
        held = problems.same_problem(session, tenant, sha256)
    if held is not None:
        return held.id
    row = StoredProblem(
        id=problem_id,
        tenant=tenant,
        kind=kind,
        sha256=sha256,
        sizes={},
        findings=[],
        tags={},
        storage_key=f"problems/{problem_id}",
    )
    if problem is not None:
        _store(system, row.storage_key, problem)
    write(system, lambda session: session.add(row))
    return problem_id


def _store(system: System, key: str, problem: CalibrationProblem) -> None:
    with tempfile.TemporaryDirectory(dir=system.settings.data_dir) as folder:
        path = Path(folder) / "problem.safetensors"
        problem.save(path)
        system.store.put(key, path)


def request(problem_id: str, **changes: Any) -> JobRequest:
    """Give a small calibration job on the problem."""
    made = JobRequest(kind="calibration", problem_id=problem_id, hyperparameters={"epochs": 5}, seed=1, device="cpu")
    return replace(made, **changes)


def submitted(system: System, problem_id: str | None = None, **changes: Any) -> str:
    """Submit a job; gives its id."""
    asked = request(problem_id or keep_problem(system, kind=changes.get("kind", "calibration")), **changes)
    return write(system, lambda session: lifecycle.submit(session, TENANT, asked, system.dispatcher)).id


def try_claim(
    system: System, job_id: str, worker: WorkerIdentity = WORKER, *, lease: float = LEASE, kinds: Any = KINDS
) -> Claim | None:
    """Try to take the job."""
    return write(system, lambda session: lifecycle.claim(session, job_id, worker, kinds, lease))


def claimed(system: System, job_id: str, worker: WorkerIdentity = WORKER, *, lease: float = LEASE) -> Claim:
    """Take the job, which must be there to be taken."""
    held = try_claim(system, job_id, worker, lease=lease)
    assert held is not None
    return held


def running(system: System, **changes: Any) -> Claim:
    """Submit a job and take it."""
    return claimed(system, submitted(system, **changes))


def report(system: System, held: Claim, batch: Batch | None = None, *, lease: float = LEASE) -> Directive:
    """Report for the holder."""
    return write(system, lambda session: lifecycle.report(session, held, batch or Batch(), lease))


def succeed(system: System, held: Claim, batch: Batch | None = None, artifacts: tuple[ArtifactRef, ...] = ()) -> bool:
    """Finish for the holder."""
    return write(system, lambda session: lifecycle.succeed(session, held, batch or Batch(), {"n_active": 2}, artifacts))


def fail(system: System, held: Claim, failure: Failure = NO_RETRY, batch: Batch | None = None) -> bool:
    """End the holder's attempt without a result."""
    return write(system, lambda session: lifecycle.fail(session, held, batch or Batch(), failure, system.dispatcher))


def give_back(system: System, held: Claim, batch: Batch | None = None) -> bool:
    """Let the holder go."""
    return write(system, lambda session: lifecycle.give_back(session, held, batch or Batch(), system.dispatcher))


def end_cancelled(system: System, held: Claim, batch: Batch | None = None) -> bool:
    """End the holder's job as cancelled."""
    return write(system, lambda session: lifecycle.end_cancelled(session, held, batch or Batch()))


def cancel(system: System, job_id: str) -> Job:
    """Cancel as the client does."""
    return write(system, lambda session: lifecycle.cancel(session, TENANT, job_id))


def reap(system: System, republish_seconds: float = 20.0) -> list[str]:
    """Look once for lost and forgotten jobs."""
    waiting = system.dispatcher.waiting_ids()
    return write(system, lambda session: lifecycle.reap(session, republish_seconds, system.dispatcher, waiting))


def job(system: System, job_id: str) -> Job:
    """Give the job as it is in the database."""
    with system.database.reading() as session:
        found = repository.job_by_id(session, job_id)
    assert found is not None
    return found


def events(system: System, job_id: str) -> list[Event]:
    """Give all events of the job."""
    with system.database.reading() as session:
        return traces.events_after(session, job_id, 0, 10_000)


def event_types(system: System, job_id: str) -> list[str]:
    """Give the types of all events of the job."""
    return [event.type for event in events(system, job_id)]


def values_of(row: Job) -> dict[str, Any]:
    """Give every column of a job."""
    return {column.name: getattr(row, column.name) for column in Job.__table__.columns}


def now(system: System) -> float:
    """Give the database's clock."""
    with system.database.reading() as session:
        return session.scalars(select(database_now())).one()


def set_columns(system: System, job_id: str, **values: Any) -> None:
    """Change a job behind the service's back."""
    write(system, lambda session: session.execute(update(Job).where(Job.id == job_id).values(**values)))


def expire(system: System, job_id: str, seconds: float = 1.0) -> None:
    """Let a job's lease have run out `seconds` ago; its id was sent a little before."""
    over = database_now() - seconds
    set_columns(system, job_id, lease_expires_at=over, published_at=over - 0.5)


def published_long_ago(system: System, job_id: str, seconds: float = 60.0) -> None:
    """Let a job's last publication be `seconds` ago."""
    set_columns(system, job_id, published_at=database_now() - seconds)


def checkpoint_ref(epoch: int, name: str = "a") -> CheckpointRef:
    """Give a checkpoint's name in the store; no bytes stand behind it."""
    return CheckpointRef(epoch=epoch, storage_key=f"jobs/x/{name}-{epoch}", sha256=f"{epoch:064x}", size_bytes=epoch)


def artifact_ref(name: str) -> ArtifactRef:
    """Give an artifact's name in the store; no bytes stand behind it."""
    return ArtifactRef(
        name=name, storage_key=f"jobs/x/{name}", sha256="0" * 64, size_bytes=1, content_type="text/plain"
    )


def note(message: str) -> EventNote:
    """Give an event of no importance."""
    return EventNote(type="noted", message=message)


def target_row(index: int, **changes: Any) -> dict[str, Any]:
    """Give a row of the table of targets."""
    made = {
        "index": index,
        "name": f"target_{index}",
        "value": 10.0,
        "initial_estimate": 8.0,
        "estimate": 9.0,
        "relative_error": -0.1,
        "abs_relative_error": 0.1,
        "group": None,
        "holdout": False,
        "price": None,
    }
    return made | changes


@contextmanager
def broker_client(url: str) -> Iterator["redis.Redis"]:
    """Open a client on a broker URL of ours."""
    socket = url.removeprefix("redis+socket://")
    client = redis.Redis.from_url(url) if socket == url else redis.Redis(unix_socket_path=socket)
    with client:
        yield client


def sent(system: System, queue: str = "cpu") -> list[str]:
    """Give the ids that wait in the broker's queue, the oldest first."""
    with broker_client(system.settings.broker) as client:
        waiting = client.lrange(queue, 0, -1)
    assert isinstance(waiting, list)
    return [json.loads(base64.b64decode(json.loads(message)["body"]))[0][0] for message in reversed(waiting)]


def empty_broker(url: str) -> None:
    """Take every waiting id out of the broker's queues."""
    with broker_client(url) as client:
        client.delete("cpu", "gpu", *client.keys("cpu.*"), *client.keys("gpu.*"))
