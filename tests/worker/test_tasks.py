"""The one task."""

import threading

import pytest
from celery import Celery

from service.jobs.queue import TASK_NAME, celery_app
from service.system import System
from tests.service.jobs import scenes
from worker.tasks import register


def task_app(system: System, draining: threading.Event) -> Celery:
    app = celery_app(system.settings)
    register(app, system, scenes.WORKER, draining)
    return app


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_drains_takes_no_job_and_an_id_of_no_job_does_no_harm(system: System) -> None:
    draining = threading.Event()
    run_job = task_app(system, draining).tasks[TASK_NAME]
    run_job("job_nobody")
    job_id = scenes.submitted(system)
    draining.set()
    run_job(job_id)
    assert (scenes.job(system, job_id).status, scenes.job(system, job_id).attempt) == ("pending", 0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_task_is_known_to_its_own_application_alone(system: System) -> None:
    task_app(system, threading.Event())
    assert TASK_NAME not in celery_app(system.settings).tasks
