"""The one task: run_job(job_id). Only the id travels through the broker; whose turn it is, SQL knows."""

import threading

from celery import Celery
from celery.worker import state

from service.jobs.queue import TASK_NAME
from service.jobs.turns import Turns
from service.jobs.values import WorkerIdentity
from service.logging import log
from service.system import System
from worker.card import CardLost
from worker.execution import execute

_TRIES = 5
EX_UNAVAILABLE = 69  # of sysexits.h: what this worker needs is not there


def register(app: Celery, system: System, worker: WorkerIdentity, draining: threading.Event) -> None:
    """Make `run_job` known to `app`; it may be delivered twice or late, the claim decides."""
    turns = Turns(system.database)

    @app.task(name=TASK_NAME, shared=False)
    def run_job(job_id: str) -> None:
        if draining.is_set():
            return
        try:
            _run_one(job_id, turns, system, worker, draining)
        except CardLost as lost:
            log.error("card_lost", device=worker.device, reason=str(lost))
            draining.set()
            setattr(state, "should_stop", EX_UNAVAILABLE)  # noqa: B010 - typed as None there; Celery looks at it all the time, and ends with this exit code


def _run_one(job_id: str, turns: Turns, system: System, worker: WorkerIdentity, draining: threading.Event) -> None:
    """Run the job whose turn it is; where other workers were quicker again and again, the one that was sent."""
    for _ in range(_TRIES):
        chosen = turns.next(job_id)
        if execute(chosen, system, worker, draining) or chosen == job_id:
            return
    execute(job_id, system, worker, draining)
