"""One job on this worker: claim, child process, watch, finish. Runs without Celery.

The watching loop has one rule for trouble: whatever fails is tried again every second until the lease has run out;
then the job is somebody else's, the child is killed, and nothing more is written.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from structlog.contextvars import bind_contextvars, bound_contextvars

from l0core.kind import versions_of
from l0core.kinds import KINDS
from service.jobs import lifecycle, repository, traces, waiting
from service.jobs.failures import deadline_exceeded
from service.jobs.values import Batch, Claim, Directive, WorkerIdentity
from service.keeping import orphans
from service.keeping.scratch import is_of_no_living_job
from service.logging import log
from service.storage.forgetting import forget
from service.system import System
from worker import failures
from worker.card import CardLost, Probe
from worker.devices import is_card
from worker.engine_process import EngineProcess
from worker.failures import describe, failure_of, failure_of_exit
from worker.ledger import Ledger
from worker.messages import Assignment, DoneMessage, FailedMessage

_TICK_SECONDS = 0.2
_RETRY_SECONDS = 1.0
_KEPT_CHECKPOINTS = 2


class StopReason(Enum):
    """Why a child was told to stop."""

    CANCEL = auto()
    DRAIN = auto()
    DEADLINE = auto()


def execute(job_id: str, system: System, worker: WorkerIdentity, draining: threading.Event) -> bool:
    """Claim the job and see it to an end of this attempt; False where it is not to be had, and left alone.

    Every line that is logged on the way says which job, attempt and worker it is about. Raises CardLost, once the job
    is in other hands, where the worker's card is there no more.
    """
    with bound_contextvars(job_id=job_id, worker=worker.id, attempt=None):
        return _execute(job_id, system, worker, draining)


def _execute(job_id: str, system: System, worker: WorkerIdentity, draining: threading.Event) -> bool:
    lease = system.settings.lease_seconds
    with system.database.transaction() as session:
        held = lifecycle.claim(session, job_id, worker, KINDS, lease)
    if held is None:
        _leave_alone(job_id, system, worker)
        return False
    bind_contextvars(attempt=held.attempt)
    log.info("job_claimed", kind=held.kind, checkpoint_epoch=held.checkpoint.epoch if held.checkpoint else None)
    _remove_leftovers(system, job_id)
    card_missing = None
    try:
        with (
            tempfile.TemporaryDirectory(dir=system.store.scratch(), prefix=f"{job_id}-") as folder,
            ThreadPoolExecutor(1, thread_name_prefix="deleting") as deleting,
            EngineProcess(_assignment(held, worker, folder), system.settings.environment()) as child,
        ):
            watch = Watch(system, worker, held, child, draining, deleting)
            watch.run()
            card_missing = watch.card_missing
    except OSError as error:  # no room for its folder, no process to be had
        _fail(system, held, error)
    _remove_orphans(system, held)
    if card_missing is not None:
        raise CardLost(card_missing)
    return True


def _leave_alone(job_id: str, system: System, worker: WorkerIdentity) -> None:
    """Say why the job was not to be had and how it stands; one of an unknown kind shows whether anybody can take it."""
    known = versions_of(KINDS)
    with system.database.reading() as session:
        job = repository.job_by_id(session, job_id)
    names = ("status", "attempt", "max_attempts", "kind", "kind_version", "queue", "cancel_requested_at")
    stands = {name: getattr(job, name) for name in names} if job else {"status": "unknown"}
    reason = waiting.why_not_claimed(job, worker, known)
    log.info("job_not_claimed", reason=reason, **stands, holder=job.worker if job else None)
    if job is not None and not waiting.knows(known, job):
        with system.database.transaction() as session:
            waiting.review(session, system.settings.worker_seen_seconds)


def _remove_leftovers(system: System, job_id: str) -> None:
    """Remove the folders that attempts of this job, or of jobs that have ended, left here when a worker was killed."""
    for folder in system.store.scratch().glob("job_*-*"):
        if folder.name.startswith(f"{job_id}-") or is_of_no_living_job(system, folder):
            shutil.rmtree(folder, ignore_errors=True)


def _fail(system: System, held: Claim, error: OSError) -> None:
    """End an attempt that this machine could not carry out."""
    log.error("attempt_broken_off", job_id=held.job_id, error=str(error))
    with system.database.transaction() as session:
        lifecycle.fail(session, held, Batch(), failure_of(describe(error)), system.dispatcher)


def _remove_orphans(system: System, held: Claim) -> None:
    """Remove what this attempt has stored and could not list; where that fails too, a sweep does it later."""
    try:
        orphans.remove_of_attempt(system, held)
    except Exception as error:  # noqa: BLE001 - the attempt has ended, whatever store or database say now
        log.warning("orphans_stay", job_id=held.job_id, error=str(error))


def _assignment(held: Claim, worker: WorkerIdentity, folder: str) -> Assignment:
    return Assignment(
        job_id=held.job_id,
        attempt=held.attempt,
        token=held.token,
        kind=held.kind,
        problem_key=held.problem_key,
        hyperparameters=held.hyperparameters,
        seed=held.seed,
        device=_device(held, worker),
        log_every=held.log_every,
        checkpoint_every=held.checkpoint_every,
        checkpoint_epoch=held.checkpoint.epoch if held.checkpoint else None,
        checkpoint_key=held.checkpoint.storage_key if held.checkpoint else None,
        checkpoint_sha256=held.checkpoint.sha256 if held.checkpoint else None,
        continues=held.continues,
        folder=folder,
    )


def _device(held: Claim, worker: WorkerIdentity) -> str:
    return "cpu" if held.device == "cpu" else worker.device


class Watch:
    """The loop beside a running child."""

    def __init__(
        self,
        system: System,
        worker: WorkerIdentity,
        held: Claim,
        child: EngineProcess,
        draining: threading.Event,
        deleting: ThreadPoolExecutor,
    ) -> None:
        self._system, self._settings, self._held, self._child = system, system.settings, held, child
        self._draining, self._deleting = draining, deleting
        self._ledger = Ledger(worker.versions)
        now = time.monotonic()
        self._renewed_at = now
        self._next_flush = now
        self._deadline = None if held.deadline_in_seconds is None else now + held.deadline_in_seconds
        self._reason: StopReason | None = None
        self._kill_at = float("inf")
        self._device = _device(held, worker)
        self.card_missing: str | None = None

    def run(self) -> None:
        """Watch until the child has ended or the job is lost, then write the end down."""
        while self._child_runs():
            if not self._flush_when_due():
                log.warning("lease_lost")
                return
            self._stop_when_due()
        self._look_for_the_card()
        if self._until_written(self._finish):
            log.info("attempt_ended", how=self._how(), exit_code=self._child.exit_code())
        else:
            log.warning("end_not_written", how=self._how())

    def _how(self) -> str:
        """Say how the attempt ended: as the child told, for the reason it was stopped, or without a word."""
        match self._ledger.ending:
            case DoneMessage():
                return "done"
            case FailedMessage(code=code):
                return code
        return "no_word" if self._reason is None else self._reason.name.lower()

    def _look_for_the_card(self) -> None:
        """Where an attempt on a card has crashed, ask a new process whether the card is there; keeps the lease."""
        match self._ledger.ending:
            case FailedMessage(code=failures.DEVICE_LOST, detail=detail):
                self.card_missing = detail
            case None | FailedMessage(code=failures.ENGINE_CRASHED) if is_card(self._device) and self._reason is None:
                with Probe(self._device, self._settings.environment()) as probe:
                    while probe.looks:
                        if not self._flush_when_due():
                            return
                        time.sleep(_TICK_SECONDS)
                    self.card_missing = probe.why_missing()

    def _child_runs(self) -> bool:
        exited = self._child.exit_code() is not None
        for message in self._child.messages(0 if exited else _TICK_SECONDS):
            self._ledger.add(message)
        return not exited and self._ledger.ending is None

    def _flush_when_due(self) -> bool:
        """Report what is new, or look whether to go on; False where the job is no longer this worker's."""
        now = time.monotonic()
        if now < self._next_flush:
            return True
        try:
            told = self._report() if self._report_due(now) else self._look()
        except SQLAlchemyError as error:
            log.warning("flush_failed", error=str(error))
            self._next_flush = now + _RETRY_SECONDS
            return now - self._renewed_at < self._settings.lease_seconds
        self._next_flush = now + self._settings.flush_seconds
        if told is Directive.CANCEL:
            self._ask_to_stop(StopReason.CANCEL)
        return told is not Directive.LOST

    def _report_due(self, now: float) -> bool:
        return self._ledger.has_news or now - self._renewed_at >= self._settings.renew_seconds

    def _look(self) -> Directive:
        with self._system.database.reading() as session:
            return lifecycle.directive(session, self._held)

    def _report(self) -> Directive:
        asked_at = time.monotonic()
        new_checkpoint = bool(self._ledger.batch.checkpoints)
        with self._system.database.transaction() as session:
            told = lifecycle.report(session, self._held, self._ledger.batch, self._settings.lease_seconds)
            dropped = self._dropped_checkpoints(session) if new_checkpoint and told is not Directive.LOST else []
        self._renewed_at = asked_at
        self._ledger.clear()
        for key in dropped:  # beside this loop: a store that is slow to answer must not cost the lease
            self._deleting.submit(forget, self._system.store, key)
        return told

    def _dropped_checkpoints(self, session: Session) -> list[str]:
        return traces.drop_older_checkpoints(session, self._held.job_id, _KEPT_CHECKPOINTS)

    def _stop_when_due(self) -> None:
        now = time.monotonic()
        if self._draining.is_set():
            self._ask_to_stop(StopReason.DRAIN)
        if self._deadline is not None and now >= self._deadline:
            self._ask_to_stop(StopReason.DEADLINE)
        if now >= self._kill_at:
            log.warning("child_killed", pid=self._child.pid)
            self._child.kill()

    def _ask_to_stop(self, reason: StopReason) -> None:
        """Tell the child once; the first reason stays."""
        if self._reason is None:
            log.info("stop_asked", reason=reason.name.lower())
            self._reason = reason
            self._kill_at = time.monotonic() + self._settings.stop_seconds
            self._child.ask_to_stop()

    def _until_written(self, write: Callable[[], object]) -> bool:
        """Write the end, again and again until it is written or the lease has run out."""
        while True:
            try:
                write()
                return True
            except SQLAlchemyError as error:
                log.warning("finish_failed", error=str(error))
                if time.monotonic() - self._renewed_at >= self._settings.lease_seconds:
                    return False
                time.sleep(_RETRY_SECONDS)

    def _finish(self) -> None:
        batch, dispatcher = self._ledger.batch, self._system.dispatcher
        with self._system.database.transaction() as session:
            match self._ledger.ending:
                case DoneMessage(summary=summary):
                    lifecycle.succeed(session, self._held, batch, summary, self._ledger.artifacts)
                case FailedMessage(code=failures.DEVICE_LOST, detail=detail):
                    lifecycle.give_back(session, self._held, batch, dispatcher, detail)
                case _ if self.card_missing is not None:
                    self._log_failure()
                    lost = failures.device_lost(self.card_missing)
                    lifecycle.fail(session, self._held, batch, lost, dispatcher)
                case FailedMessage() as message:
                    self._log_failure()
                    lifecycle.fail(session, self._held, batch, failure_of(message), dispatcher)
                case _ if self._reason is not None:
                    self._finish_stopped(session, self._reason)
                case _:
                    self._log_failure()
                    failure = failure_of_exit(self._child.exit_code() or 0, self._child.last_words())
                    lifecycle.fail(session, self._held, batch, failure, dispatcher)

    def _finish_stopped(self, session: Session, reason: StopReason) -> None:
        batch, dispatcher = self._ledger.batch, self._system.dispatcher
        if reason is StopReason.CANCEL:
            lifecycle.end_cancelled(session, self._held, batch)
        elif reason is StopReason.DRAIN:
            lifecycle.give_back(session, self._held, batch, dispatcher)
        else:
            late = deadline_exceeded(self._held.deadline_seconds or 0.0)
            lifecycle.fail(session, self._held, batch, late, dispatcher)

    def _log_failure(self) -> None:
        log.error("engine_failed", exit_code=self._child.exit_code(), engine_log=self._child.log_tail())
