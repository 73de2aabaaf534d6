"""What must hold when a storm is over, whatever it was: each law gives the sentences of its breaches."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from l0core.calibration.result import CalibrationResult
from service.jobs import traces
from service.jobs.models import Job, Metric, StoredArtifact, StoredCheckpoint, TargetRow
from service.jobs.states import TERMINAL
from service.problems.models import StoredProblem, Upload
from service.system import System
from tests.chaos.deployment import Deployment
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

_CLEARING_SECONDS = 60.0
_ENDS = {status.value for status in TERMINAL}

Undisturbed = Callable[[Job], CalibrationResult]


def broken_laws(on: Deployment, promised: Mapping[str, str], undisturbed: Undisturbed) -> list[str]:
    """Examine all that is left; nothing is an empty list."""
    system = on.system
    with system.database.reading() as session:
        jobs = list(session.scalars(select(Job).order_by(Job.id)))
    return [
        *_promises_broken(jobs, promised),
        *(breach for job in jobs for breach in _breaches(system, job, undisturbed(job))),
        *_litter(system),
    ]


def _promises_broken(jobs: list[Job], promised: Mapping[str, str]) -> Iterator[str]:
    ids = {job.id for job in jobs}
    if ids != set(promised.values()) or len(ids) != len(promised):
        yield f"{len(promised)} keys were promised {len(set(promised.values()))} jobs; the table holds {len(ids)}"


def _breaches(system: System, job: Job, expected: CalibrationResult) -> Iterator[str]:
    if job.status != "succeeded":
        yield f"{job.id} is {job.status}: {job.error}"
        return
    yield from (f"{job.id}: {breach}" for law in (_ended_once, _same_result) for breach in law(system, job, expected))
    if job.lease_expires_at is not None:
        yield f"{job.id} has ended and is still leased"


def _ended_once(system: System, job: Job, _expected: CalibrationResult) -> Iterator[str]:
    told = scenes.events(system, job.id)
    if [event.seq for event in told] != list(range(1, job.last_event + 1)):
        yield "its events are not numbered without a gap"
    ends = [event.type for event in told if event.type in _ENDS]
    if ends != ["succeeded"] or told[-1].type != "succeeded":
        yield f"it ended as {ends}"
    started, drained = (sum(event.type == name for event in told) for name in ("started", "given_back"))
    if started - drained != job.attempt:
        yield f"{started} starts and {drained} drained ones make no {job.attempt} attempts"


def _same_result(system: System, job: Job, expected: CalibrationResult) -> Iterator[str]:
    if not np.array_equal(runs.weights(system, job.id), expected.weights):
        yield "its weights are not those of an undisturbed run"
    if job.summary != expected.summary:
        yield "its summary is not that of an undisturbed run"
    with system.database.reading() as session:
        if _curve(session, job.id) != list(zip(expected.history.steps, expected.history.metrics["loss"], strict=True)):
            yield "its loss curve is not that of an undisturbed run"
        mine = select(TargetRow.estimate).where(TargetRow.job_id == job.id, TargetRow.attempt == job.attempt)
        if list(session.scalars(mine.order_by(TargetRow.index))) != [row["estimate"] for row in expected.target_rows()]:
            yield "its table of targets is not that of an undisturbed run"
        listed: list[StoredArtifact | StoredCheckpoint] = [
            *traces.artifacts(session, job.id),
            *_checkpoints(session, job.id),
        ]
    yield from (f"{row.storage_key} cannot be read back whole" for row in listed if not runs.is_whole(system, row))


def _curve(session: Session, job_id: str) -> list[tuple[int, float | None]]:
    mine = select(Metric.step, Metric.value).where(Metric.job_id == job_id, Metric.key == "loss")
    return [(step, value) for step, value in session.execute(mine.order_by(Metric.step))]


def _checkpoints(session: Session, job_id: str) -> list[StoredCheckpoint]:
    return list(session.scalars(select(StoredCheckpoint).where(StoredCheckpoint.job_id == job_id)))


def _litter(system: System) -> Iterator[str]:
    """Name what nobody needs and nobody clears away."""
    for name, look in {"on its way in": _on_their_way, "in no table": _unlisted}.items():
        try:
            until(partial(_is_empty, look, system), _CLEARING_SECONDS)
        except AssertionError:
            yield from (f"{key} is still {name}" for key in sorted(look(system)))


def _is_empty(look: Callable[[System], set[str]], system: System) -> bool:
    return not look(system)


def _on_their_way(system: System) -> set[str]:
    return set(runs.leftovers(system))


def _unlisted(system: System) -> set[str]:
    root = system.settings.storage
    held = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return held - _listed(system) - {f"incoming/{name}" for name in runs.leftovers(system)}


def _listed(system: System) -> set[str]:
    tables = (Upload, StoredProblem, StoredArtifact, StoredCheckpoint)
    with system.database.reading() as session:
        return {key for table in tables for key in session.scalars(select(table.storage_key))}
