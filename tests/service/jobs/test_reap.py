"""Reaping: a lost job is sent again or ended, a forgotten one is sent again, one that is held is left alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from service.db.base import database_now
from service.jobs import repository
from service.jobs.values import Claim, Directive
from service.system import System
from tests.service.jobs import scenes
from tests.service.jobs.scenes import reap

THREADS = 4


def lost(system: System, **changes: object) -> Claim:
    """Give a claim whose lease has run out."""
    held = scenes.running(system, **changes)
    scenes.expire(system, held.job_id)
    scenes.empty_broker(system.settings.broker)
    return held


def test_a_job_that_is_held_is_left_alone(system: System) -> None:
    held = scenes.running(system)
    before = scenes.values_of(scenes.job(system, held.job_id))
    assert reap(system, republish_seconds=0.0) == []
    assert scenes.values_of(scenes.job(system, held.job_id)) == before


def test_a_lost_job_is_sent_again_with_an_event(system: System) -> None:
    held = lost(system)
    assert reap(system) == [held.job_id]
    assert scenes.sent(system) == [held.job_id]
    job = scenes.job(system, held.job_id)
    assert (job.status, job.attempt) == ("running", 1)
    assert scenes.event_types(system, held.job_id) == ["submitted", "started", "worker_lost"]
    assert scenes.claimed(system, held.job_id).attempt == 2


def test_a_lost_job_that_was_sent_again_is_not_sent_every_round(system: System) -> None:
    held = lost(system)
    assert [reap(system), reap(system), reap(system)] == [[held.job_id], [], []]


def test_a_lost_job_that_nobody_took_is_sent_once_more_after_a_while(system: System) -> None:
    held = lost(system)
    reap(system)
    scenes.published_long_ago(system, held.job_id)
    assert reap(system) == [held.job_id]


def test_a_worker_is_lost_once(system: System) -> None:
    held = lost(system)
    for _ in range(3):
        reap(system)
        scenes.published_long_ago(system, held.job_id)
    assert scenes.event_types(system, held.job_id).count("worker_lost") == 1


@pytest.mark.parametrize("end", [scenes.succeed, scenes.fail, scenes.end_cancelled])
def test_an_end_that_comes_after_the_job_was_found_lost_stays_the_end(
    system: System, monkeypatch: pytest.MonkeyPatch, end: Callable[[System, Claim], bool]
) -> None:
    held = lost(system)
    with system.database.reading() as session:
        found = repository.lost_jobs(session)
    assert [job.id for job in found] == [held.job_id]
    assert end(system, held)  # its worker stood still for longer than its lease, and goes on
    before = scenes.values_of(scenes.job(system, held.job_id))
    events = scenes.event_types(system, held.job_id)
    monkeypatch.setattr(repository, "lost_jobs", lambda _session: found)
    reap(system)
    assert scenes.values_of(scenes.job(system, held.job_id)) == before
    assert scenes.event_types(system, held.job_id) == events


def test_the_worker_of_a_job_given_back_is_not_lost(system: System) -> None:
    held = scenes.running(system)
    scenes.give_back(system, held)
    scenes.published_long_ago(system, held.job_id)
    assert reap(system) == [held.job_id]
    assert "worker_lost" not in scenes.event_types(system, held.job_id)


def test_a_job_given_back_is_not_sent_twice_at_once(system: System) -> None:
    scenes.give_back(system, scenes.running(system))
    assert reap(system) == []


def test_a_lost_job_with_no_attempt_left_has_failed(system: System) -> None:
    held = lost(system, max_attempts=1)
    assert reap(system) == []
    job = scenes.job(system, held.job_id)
    assert (job.status, job.finished_at is not None) == ("failed", True)
    assert job.error is not None
    assert (job.error["code"], job.error["type"]) == ("worker_lost", "urn:l0:error:worker_lost")
    assert "1 attempts" in job.error["detail"]
    assert scenes.event_types(system, held.job_id)[-1] == "failed"
    assert scenes.report(system, held) is Directive.LOST


def test_a_lost_job_whose_cancellation_was_asked_for_is_cancelled(system: System) -> None:
    held = scenes.running(system)
    scenes.cancel(system, held.job_id)
    scenes.expire(system, held.job_id)
    assert reap(system) == []
    assert scenes.job(system, held.job_id).status == "cancelled"
    assert scenes.event_types(system, held.job_id)[-2:] == ["cancel_requested", "cancelled"]


def test_a_pending_job_past_its_deadline_has_failed(system: System) -> None:
    job_id = scenes.submitted(system, deadline_seconds=10.0)
    scenes.set_columns(system, job_id, created_at=database_now() - 11.0)
    assert reap(system) == []
    job = scenes.job(system, job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "deadline_exceeded"
    assert "10" in job.error["detail"]


def test_a_lost_job_past_its_deadline_has_failed(system: System) -> None:
    held = lost(system, deadline_seconds=10.0)
    scenes.set_columns(system, held.job_id, created_at=database_now() - 11.0)
    assert reap(system) == []
    error = scenes.job(system, held.job_id).error
    assert error is not None
    assert error["code"] == "deadline_exceeded"


def test_a_held_job_past_its_deadline_is_its_holder_s_affair(system: System) -> None:
    held = scenes.running(system, deadline_seconds=10.0)
    scenes.set_columns(system, held.job_id, created_at=database_now() - 11.0)
    reap(system)
    assert scenes.job(system, held.job_id).status == "running"


def test_a_job_within_its_deadline_is_left_alone(system: System) -> None:
    job_id = scenes.submitted(system, deadline_seconds=1000.0)
    reap(system)
    assert scenes.job(system, job_id).status == "pending"


def test_a_forgotten_pending_job_is_sent_again(system: System) -> None:
    job_id = scenes.submitted(system)
    scenes.empty_broker(system.settings.broker)
    assert reap(system) == []
    scenes.published_long_ago(system, job_id)
    assert reap(system) == [job_id]
    assert scenes.sent(system) == [job_id]
    assert reap(system) == []


def test_a_pending_job_that_was_never_sent_is_sent(system: System) -> None:
    job_id = scenes.submitted(system)
    scenes.empty_broker(system.settings.broker)
    scenes.set_columns(system, job_id, published_at=None, created_at=database_now() - 60.0)
    assert reap(system) == [job_id]
    assert scenes.sent(system) == [job_id]


def test_a_job_goes_to_the_queue_it_was_submitted_to(system: System) -> None:
    job_id = scenes.submitted(system, device="cuda")
    scenes.empty_broker(system.settings.broker)
    scenes.published_long_ago(system, job_id)
    reap(system)
    assert scenes.sent(system, "gpu") == [job_id]


def test_a_null_lease_never_hides_a_job(system: System) -> None:
    held = scenes.running(system)
    scenes.set_columns(system, held.job_id, lease_expires_at=None)
    assert reap(system) == [held.job_id]
    assert scenes.try_claim(system, held.job_id) is not None


def test_many_that_reap_at_once_end_a_job_once(system: System) -> None:
    held, start = lost(system, max_attempts=1), Barrier(THREADS)

    def round_(_: int) -> list[str]:
        start.wait()
        return reap(system)

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(round_, range(THREADS))) == [[]] * THREADS
    assert scenes.job(system, held.job_id).status == "failed"
    assert scenes.event_types(system, held.job_id).count("failed") == 1


def test_a_holder_that_comes_back_in_time_keeps_its_last_attempt(system: System) -> None:
    held = lost(system, max_attempts=1)
    assert scenes.report(system, held) is Directive.GO_ON
    reap(system)
    assert scenes.succeed(system, held)


def test_many_jobs_are_each_sent_once(system: System) -> None:
    problem_id = scenes.keep_problem(system)
    ids = [scenes.submitted(system, problem_id) for _ in range(20)]
    scenes.empty_broker(system.settings.broker)
    for job_id in ids:
        scenes.published_long_ago(system, job_id)
    assert reap(system) == ids
    assert scenes.sent(system) == ids


def test_an_id_that_still_waits_in_the_broker_is_not_sent_again(system: System) -> None:
    job_id = scenes.submitted(system)
    for _ in range(5):
        scenes.published_long_ago(system, job_id)
        reap(system)
    assert scenes.sent(system) == [job_id]
