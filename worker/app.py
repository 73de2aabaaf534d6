"""The Celery instance and its signals. Threads, no fork: another process forks the engines."""

import threading
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutdown, worker_shutting_down

from service.jobs.queue import celery_app
from service.jobs.routing import routes
from service.jobs.values import WorkerIdentity
from service.logging import log
from service.settings import Settings
from service.system import System
from worker.engine_process import engines
from worker.maintenance import Maintenance
from worker.tasks import register

_LOOK_AGAIN_SECONDS = 0.02
_WARM_AFTER_SECONDS = 10.0  # where no job came before that: what starts by the dozen, or ends at once, loads nothing


def run(settings: Settings, worker: WorkerIdentity) -> int:
    """Serve the queues until told to stop; gives the exit code."""
    system, draining = System.open(settings), threading.Event()
    app = celery_app(settings, routes(worker.queues, worker.kinds))
    register(app, system, worker, draining)
    _connect(Maintenance(system, worker), draining)
    return _serve(app, settings, worker.id)


def _connect(maintenance: Maintenance, draining: threading.Event) -> None:
    """Tie the worker's life to Celery's signals; strong references, Celery keeps weak ones by default."""

    def ready(sender: Any, **_: Any) -> None:
        sender.hub.call_repeatedly(_LOOK_AGAIN_SECONDS, _look_again)
        sender.hub.call_later(_WARM_AFTER_SECONDS, engines.start)
        maintenance.start()
        log.info("worker_ready")

    def shutting_down(**_: Any) -> None:
        draining.set()

    def gone(**_: Any) -> None:
        maintenance.stop()
        log.info("worker_ended")

    setup_logging.connect(_leave_logging_alone, weak=False)
    worker_ready.connect(ready, weak=False)
    worker_shutting_down.connect(shutting_down, weak=False)
    worker_shutdown.connect(gone, weak=False)


def _leave_logging_alone(**_: Any) -> None:
    """Do nothing: as long as somebody listens, Celery sets up no logging and takes no standard output over."""


def _look_again() -> None:
    """Do nothing: being called lets Celery's loop see that a thread is free, which else it notices once a second."""


def _serve(app: Celery, settings: Settings, name: str) -> int:
    worker = app.Worker(
        hostname=f"{name}@l0",
        pool="threads",
        concurrency=settings.worker_concurrency,
        queues=[queue.name for queue in app.conf.task_queues],
        loglevel="WARNING",
        quiet=True,
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)
