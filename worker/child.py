"""What an engine's process does: fetch the problem, run the engine, store what it leaves.

It is forked by `forks` and knows no database and no broker. The next line of its standard input is the assignment; any
later line, or the end of the input (the worker has died), means stop. It reports on a pipe. What it logs goes to a file
that its worker reads.
"""

import faulthandler
import os
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from structlog.contextvars import bind_contextvars

from l0core.context import CheckpointPolicy, EpochReport, FindingReport, Report, RunContext, StageReport, Stopped
from l0core.errors import CheckpointIncompatible
from l0core.kind import Artifact, Kind, Result
from l0core.kinds import KINDS
from l0core.plain import plain
from service.jobs.values import attempt_prefix
from service.logging import configure, log
from service.settings import Settings
from service.storage import Store, open_store
from worker import card, failures
from worker.checkpoints import Checkpoints
from worker.devices import is_card
from worker.messages import (
    ArtifactMessage,
    Assignment,
    DoneMessage,
    EpochMessage,
    FindingMessage,
    StageMessage,
    StoppedMessage,
    TargetsMessage,
)
from worker.patience import Patience, StoppedWaiting
from worker.relay import ENGINE
from worker.sha256 import sha256_of

_ROWS_A_MESSAGE = 1000
_RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere


def main(pipe_number: int) -> None:
    """Run the one assignment; `pipe_number` is that of the pipe to its worker."""
    assignment = Assignment.model_validate_json(sys.stdin.readline())
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    settings = Settings()
    configure(settings, process=ENGINE)
    faulthandler.enable()
    bind_contextvars(job_id=assignment.job_id, attempt=assignment.attempt)
    log.info("engine_started", pid=os.getpid())
    with os.fdopen(pipe_number, "w", encoding="utf-8", buffering=1) as pipe:
        store = open_store(settings, scratch=Path(assignment.folder) / "incoming")
        patience = Patience(seconds=settings.storage_patience_seconds, stop=stop)
        desk = Desk(assignment=assignment, settings=settings, store=store, patience=patience, write=pipe.write)
        desk.send(_outcome(desk, stop))


def _listen(stop: threading.Event) -> None:
    """Wait for the word to stop; once the worker itself is gone, before or after it, nobody can use a result: leave."""
    for _ in sys.stdin:
        stop.set()
    os._exit(1)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What the child works with: its assignment, the store, how long to wait for it, and the pipe to its worker."""

    assignment: Assignment
    settings: Settings
    store: Store
    patience: Patience
    write: Callable[[str], object]

    def send(self, message: BaseModel) -> None:
        """Tell the worker."""
        self.write(message.model_dump_json() + "\n")

    def key(self, name: str) -> str:
        """Give the storage key of a file of this attempt; another attempt's files never collide with it."""
        return attempt_prefix(self.assignment.job_id, self.assignment.token) + name


def _outcome(desk: Desk, stop: threading.Event) -> BaseModel:
    try:
        return _told_in_the_log(_run(desk, stop))
    except StoppedWaiting:
        return _told_in_the_log(StoppedMessage(epoch=0))
    except BaseException as error:  # noqa: BLE001 - every end of a run is told, by the table in `failures`
        return _told_in_the_log(failures.describe(error), error)


def _told_in_the_log(outcome: BaseModel, error: BaseException | None = None) -> BaseModel:
    said = outcome.model_dump(include={"type", "epoch", "code", "detail"})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RESIDENT_UNIT
    log.info("engine_ended", how=said.pop("type"), **said, peak_memory_bytes=peak, exc_info=error)
    return outcome


def _run(desk: Desk, stop: threading.Event) -> BaseModel:
    desk.send(StageMessage(stage="loading"))
    with _device(desk.assignment.device):
        return _run_on_device(desk, stop)


@contextmanager
def _device(device: str) -> Iterator[None]:
    """Have a card for this job alone, and see that it is there before anything is tried on it."""
    if not is_card(device):
        yield
        return
    with card.taken_by_job(device):
        card.check(device)
        yield


def _run_on_device(desk: Desk, stop: threading.Event) -> BaseModel:
    kind = KINDS[desk.assignment.kind]
    began = time.monotonic()
    problem = desk.patience.until_done(partial(_fetched_problem, desk, kind))
    took = round(time.monotonic() - began, 3)
    log.info("problem_loaded", **problem.sizes, seconds=took, device=desk.assignment.device)
    hyperparameters = kind.hyperparameters.model_validate(desk.assignment.hyperparameters)
    result = _from_checkpoint_or_afresh(desk, partial(kind.engine(), problem, hyperparameters), _context(desk, stop))
    if isinstance(result, Stopped):
        return StoppedMessage(epoch=result.epoch)
    desk.send(StageMessage(stage="saving"))
    _save(desk, result)
    return DoneMessage(summary=plain(result.summary))


def _fetched_problem(desk: Desk, kind: Kind) -> Any:
    with desk.store.local(desk.assignment.problem_key) as path:
        return kind.problem_type().load(path)


def _from_checkpoint_or_afresh(
    desk: Desk, run: Callable[[RunContext], Result | Stopped], context: RunContext
) -> Result | Stopped:
    """Go on from the run's last checkpoint; where this engine cannot use it, start again rather than fail the job.

    A checkpoint of another run was asked for by name: without it the job would not be the one that was submitted.
    """
    if context.resume_from is None:
        return run(context)
    log.info("run_resumes", from_epoch=desk.assignment.checkpoint_epoch)
    try:
        return run(context)
    except CheckpointIncompatible as error:
        desk.send(_unusable(error.message))
        return run(replace(context, resume_from=None))


def _unusable(reason: str) -> FindingMessage:
    text = f"the last checkpoint cannot be used, the run starts again: {reason}"
    log.warning("checkpoint_unusable", reason=reason)
    return FindingMessage(code="checkpoint_unusable", severity="warning", message=text)


def _context(desk: Desk, stop: threading.Event) -> RunContext:
    assignment = desk.assignment
    folder = Path(assignment.folder)
    checkpoints = Checkpoints(desk.store, desk.key, desk.send)
    fetched = desk.patience.until_done(partial(_fetched_checkpoint, desk, folder))
    return RunContext(
        seed=assignment.seed,
        device=assignment.device,
        report=lambda report: desk.send(_message(report)),
        should_stop=stop.is_set,
        log_every=assignment.log_every,
        checkpoints=CheckpointPolicy(
            folder=folder,
            every_epochs=assignment.checkpoint_every,
            every_seconds=desk.settings.checkpoint_seconds,
            saved=checkpoints.saved,
            missed=checkpoints.missed,
        ),
        continue_from=fetched if assignment.continues else None,
        resume_from=None if assignment.continues else fetched,
    )


def _fetched_checkpoint(desk: Desk, folder: Path) -> Path | None:
    """Bring the last checkpoint here, where there is one and its bytes are the ones that were stored."""
    assignment = desk.assignment
    if assignment.checkpoint_key is None:
        return None
    path = folder / "resume.safetensors"
    try:
        with desk.store.open(assignment.checkpoint_key) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
    except KeyError:
        _do_without(desk, "it is gone from the store")
        return None
    if sha256_of(path) != assignment.checkpoint_sha256:
        _do_without(desk, "its bytes are not the ones that were stored")
        return None
    return path


def _do_without(desk: Desk, reason: str) -> None:
    """Say that the checkpoint cannot be used; raises where the job cannot be done without it."""
    if desk.assignment.continues:
        raise CheckpointIncompatible(f"the checkpoint this job goes on from cannot be used: {reason}")
    desk.send(_unusable(reason))


def _message(report: Report) -> BaseModel:
    match report:
        case StageReport(stage=stage):
            return StageMessage(stage=stage)
        case EpochReport(epoch=epoch, epochs=epochs, metrics=metrics):
            return EpochMessage(epoch=epoch, epochs=epochs, metrics=plain(metrics))
        case FindingReport():
            return FindingMessage(**plain(asdict(report)))


def _save(desk: Desk, result: Result) -> None:
    for rows in _batches(result.target_rows(), _ROWS_A_MESSAGE):
        desk.send(TargetsMessage(rows=[plain(row) for row in rows]))
    for artifact in result.write(Path(desk.assignment.folder) / "artifacts"):
        desk.patience.until_done(partial(_store_artifact, desk, artifact))


def _store_artifact(desk: Desk, artifact: Artifact) -> None:
    key = desk.key(artifact.name)
    sha256, size = sha256_of(artifact.path), artifact.path.stat().st_size
    desk.store.put(key, artifact.path)
    log.info("artifact_saved", name=artifact.name, size_bytes=size)
    desk.send(
        ArtifactMessage(
            name=artifact.name,
            storage_key=key,
            sha256=sha256,
            size_bytes=size,
            content_type=artifact.content_type,
        )
    )


def _batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    waiting = iter(rows)
    while batch := list(islice(waiting, size)):
        yield batch
