"""The one task: run_job(job_id). Only the id travels through the broker."""

import threading

from celery import Celery

from service.jobs.queue import TASK_NAME
from service.jobs.values import WorkerIdentity
from service.system import System
from worker.execution import execute


def register(app: Celery, system: System, worker: WorkerIdentity, draining: threading.Event) -> None:
    """Make `run_job` known to `app`; it may be delivered twice or late, the claim decides."""

    @app.task(name=TASK_NAME, shared=False)
    def run_job(job_id: str) -> None:
        if not draining.is_set():
            execute(job_id, system, worker, draining)
