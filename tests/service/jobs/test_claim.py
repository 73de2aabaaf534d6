"""Claiming: one winner, a lease from the first moment, and everything that is not to be had is left alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from service.db.base import database_now
from service.jobs.values import Batch, Claim
from service.system import System
from tests.service.jobs import scenes

THREADS = 8
_CLOCK_TICK = 0.002  # SQLite's clock counts milliseconds


def _refused(system: System, job_id: str, **how: Any) -> bool:
    """Say whether the claim got nothing and changed nothing."""
    before = scenes.values_of(scenes.job(system, job_id))
    held = scenes.try_claim(system, job_id, **how)
    return held is None and scenes.values_of(scenes.job(system, job_id)) == before


def test_a_claimed_job_runs_its_first_attempt(system: System) -> None:
    job_id = scenes.submitted(system)
    held = scenes.claimed(system, job_id)
    job = scenes.job(system, job_id)
    assert (job.status, job.stage, job.attempt, job.worker) == ("running", "loading", 1, "wrk_one")
    assert job.lease_token == held.token
    assert None not in {job.started_at, job.heartbeat_at}
    assert scenes.event_types(system, job_id) == ["submitted", "started"]


def test_the_claim_tells_what_is_to_be_run(system: System) -> None:
    problem_id = scenes.keep_problem(system)
    job_id = scenes.submitted(system, problem_id, seed=7, checkpoint_every=3, log_every=2)
    held = scenes.claimed(system, job_id)
    assert (held.job_id, held.kind, held.attempt, held.max_attempts) == (job_id, "calibration", 1, 3)
    assert (held.problem_key, held.hyperparameters) == (f"problems/{problem_id}", {"epochs": 5})
    assert (held.seed, held.checkpoint_every, held.log_every) == (7, 3, 2)
    assert (held.checkpoint, held.deadline_in_seconds) == (None, None)


def test_the_lease_is_set_in_the_claim_itself(system: System) -> None:
    job_id = scenes.submitted(system)
    before = scenes.now(system)
    scenes.claimed(system, job_id, lease=30.0)
    expires = scenes.job(system, job_id).lease_expires_at
    assert expires is not None
    assert before + 30 - _CLOCK_TICK <= expires.timestamp() <= scenes.now(system) + 30 + _CLOCK_TICK


def test_of_many_that_claim_at_once_one_wins(system: System) -> None:
    job_id, start = scenes.submitted(system), Barrier(THREADS)

    def claim(number: int) -> Claim | None:
        start.wait()
        return scenes.try_claim(system, job_id, replace(scenes.WORKER, id=f"wrk_{number}"))

    with ThreadPoolExecutor(THREADS) as pool:
        winners = [held for held in pool.map(claim, range(THREADS)) if held]
    job = scenes.job(system, job_id)
    assert [held.token for held in winners] == [job.lease_token]
    assert (job.attempt, scenes.event_types(system, job_id).count("started")) == (1, 1)


def test_of_many_that_claim_a_lost_job_at_once_one_wins(system: System) -> None:
    lost, start = scenes.running(system), Barrier(THREADS)
    scenes.expire(system, lost.job_id)

    def claim(_: int) -> Claim | None:
        start.wait()
        return scenes.try_claim(system, lost.job_id)

    with ThreadPoolExecutor(THREADS) as pool:
        winners = [held for held in pool.map(claim, range(THREADS)) if held]
    assert [held.attempt for held in winners] == [2]


def test_a_second_delivery_gets_nothing(system: System) -> None:
    assert _refused(system, scenes.running(system).job_id)


def test_a_job_that_has_succeeded_is_left_alone(system: System) -> None:
    held = scenes.running(system)
    scenes.succeed(system, held)
    assert _refused(system, held.job_id)


def test_a_job_that_has_failed_is_left_alone(system: System) -> None:
    held = scenes.running(system)
    scenes.fail(system, held)
    assert _refused(system, held.job_id)


def test_a_cancelled_job_is_left_alone(system: System) -> None:
    job_id = scenes.submitted(system)
    scenes.cancel(system, job_id)
    assert _refused(system, job_id)


def test_a_lost_job_whose_cancellation_was_asked_for_is_left_alone(system: System) -> None:
    held = scenes.running(system)
    scenes.cancel(system, held.job_id)
    scenes.expire(system, held.job_id)
    assert _refused(system, held.job_id)


def test_a_lost_job_with_no_attempt_left_is_left_alone(system: System) -> None:
    held = scenes.running(system, max_attempts=1)
    scenes.expire(system, held.job_id)
    assert _refused(system, held.job_id)


def test_a_job_of_another_queue_is_left_alone(system: System) -> None:
    assert _refused(system, scenes.submitted(system, device="cuda"))


def test_a_worker_of_both_queues_takes_from_both(system: System) -> None:
    both = replace(scenes.WORKER, queues=("cpu", "gpu"))
    assert scenes.try_claim(system, scenes.submitted(system, device="cuda"), both)
    assert scenes.try_claim(system, scenes.submitted(system, device="cpu"), both)


def test_a_kind_this_worker_does_not_know_is_left_alone(system: System) -> None:
    assert _refused(system, scenes.submitted(system), kinds={})


def test_a_job_that_does_not_exist_gives_nothing(system: System) -> None:
    assert scenes.try_claim(system, "job_nobody") is None


def test_an_expired_lease_is_claimed_with_another_attempt_and_another_token(system: System) -> None:
    lost = scenes.running(system)
    scenes.expire(system, lost.job_id)
    held = scenes.claimed(system, lost.job_id, scenes.OTHER_WORKER)
    assert (held.attempt, held.token != lost.token) == (2, True)
    assert scenes.job(system, lost.job_id).worker == "wrk_two"


def test_another_attempt_keeps_the_time_of_the_first_start(system: System) -> None:
    lost = scenes.running(system)
    started = scenes.job(system, lost.job_id).started_at
    scenes.expire(system, lost.job_id)
    scenes.claimed(system, lost.job_id)
    assert scenes.job(system, lost.job_id).started_at == started


def test_another_attempt_is_told_of_the_checkpoint_of_the_most_epochs(system: System) -> None:
    lost = scenes.running(system)
    scenes.report(system, lost, Batch(checkpoints=[scenes.checkpoint_ref(20), scenes.checkpoint_ref(10)]))
    scenes.expire(system, lost.job_id)
    assert scenes.claimed(system, lost.job_id).checkpoint == scenes.checkpoint_ref(20)


def test_of_two_checkpoints_of_as_many_epochs_the_newer_is_told(system: System) -> None:
    lost = scenes.running(system)
    scenes.report(system, lost, Batch(checkpoints=[scenes.checkpoint_ref(20, "old")]))
    scenes.expire(system, lost.job_id)
    again = scenes.claimed(system, lost.job_id)
    scenes.report(system, again, Batch(checkpoints=[scenes.checkpoint_ref(20, "new")]))
    scenes.expire(system, lost.job_id)
    assert scenes.claimed(system, lost.job_id).checkpoint == scenes.checkpoint_ref(20, "new")


@pytest.mark.parametrize("past", [0.0, 40.0])
def test_the_time_to_the_deadline_counts_from_the_submission(system: System, past: float) -> None:
    job_id = scenes.submitted(system, deadline_seconds=1000.0)
    scenes.set_columns(system, job_id, created_at=database_now() - past)
    left = scenes.claimed(system, job_id).deadline_in_seconds
    assert left is not None
    assert 0 < left <= 1000.0 - past + _CLOCK_TICK
