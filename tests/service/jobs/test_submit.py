"""Submitting: a pending job, its first event, and its id sent once it is committed."""

import pytest
from sqlalchemy import text

from service.db.session import after_commit
from service.errors import NotFound
from service.jobs import lifecycle
from service.system import System
from tests.service.jobs import scenes


def test_a_submitted_job_is_pending_and_untouched(system: System) -> None:
    job_id = scenes.submitted(system, tags={"purpose": "test"}, deadline_seconds=60.0, log_every=2)
    job = scenes.job(system, job_id)
    assert (job.status, job.attempt, job.max_attempts, job.queue) == ("pending", 0, 3, "cpu")
    assert (job.lease_token, job.started_at, job.finished_at, job.summary, job.error) == (None,) * 5
    assert (job.hyperparameters, job.tags) == ({"epochs": 5}, {"purpose": "test"})
    assert (job.seed, job.deadline_seconds, job.log_every) == (1, 60.0, 2)


def test_its_first_event_is_number_one(system: System) -> None:
    (event,) = scenes.events(system, scenes.submitted(system))
    assert (event.seq, event.type) == (1, "submitted")


def test_its_id_is_sent_to_the_queue_of_its_device(system: System) -> None:
    on_cpu, on_gpu = scenes.submitted(system), scenes.submitted(system, device="cuda")
    assert (scenes.sent(system, "cpu"), scenes.sent(system, "gpu")) == ([on_cpu], [on_gpu])


def test_it_is_noted_that_the_id_was_sent(system: System) -> None:
    job = scenes.job(system, scenes.submitted(system))
    assert (job.stage, job.published_at is not None) == ("queued", True)


def test_nothing_is_sent_before_the_commit(system: System) -> None:
    problem_id = scenes.keep_problem(system)
    with system.database.transaction() as session:
        job = lifecycle.submit(session, scenes.TENANT, scenes.request(problem_id), system.dispatcher)
        assert scenes.sent(system) == []
    assert scenes.sent(system) == [job.id]


def test_nothing_is_sent_where_the_transaction_fails(system: System) -> None:
    problem_id = scenes.keep_problem(system)
    with pytest.raises(RuntimeError), system.database.transaction() as session:
        lifecycle.submit(session, scenes.TENANT, scenes.request(problem_id), system.dispatcher)
        raise RuntimeError
    assert scenes.sent(system) == []


def test_a_job_that_is_committed_is_accepted_whatever_comes_after(system: System) -> None:
    problem_id = scenes.keep_problem(system)

    def rename(before: str, after: str) -> None:
        scenes.write(system, lambda session: session.execute(text(f"ALTER TABLE {before} RENAME TO {after}")))

    try:
        with system.database.transaction() as session:
            after_commit(session, lambda: rename("jobs", "gone"))  # the database is in trouble once it has committed
            job = lifecycle.submit(session, scenes.TENANT, scenes.request(problem_id), system.dispatcher)
    finally:
        rename("gone", "jobs")
    assert scenes.job(system, job.id).status == "pending"


def test_another_tenants_problem_is_not_found(system: System) -> None:
    problem_id = scenes.keep_problem(system, tenant="tenant-b")
    with pytest.raises(NotFound, match=problem_id):
        scenes.submitted(system, problem_id)


def test_the_largest_seed_is_kept_exactly(system: System) -> None:
    assert scenes.job(system, scenes.submitted(system, seed=2**63 - 1)).seed == 2**63 - 1
