"""Cancelling: a job nobody is on ends at once, a running one is asked to stop, an ended one is refused."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from service.errors import Conflict, NotFound
from service.jobs import lifecycle
from service.jobs.models import Job
from service.jobs.values import Batch, Directive
from service.system import System
from tests.service.jobs import scenes


def test_a_pending_job_is_cancelled_at_once(system: System) -> None:
    job_id = scenes.submitted(system)
    shown = scenes.cancel(system, job_id)
    assert (shown.status, shown.attempt) == ("cancelled", 0)
    assert None not in {shown.cancel_requested_at, shown.finished_at}
    assert scenes.event_types(system, job_id) == ["submitted", "cancelled"]


def test_a_job_cancelled_while_pending_never_runs(system: System) -> None:
    job_id = scenes.submitted(system)
    scenes.cancel(system, job_id)
    assert scenes.try_claim(system, job_id) is None
    assert scenes.reap(system, republish_seconds=0.0) == []


def test_a_running_job_is_asked_to_stop(system: System) -> None:
    held = scenes.running(system)
    shown = scenes.cancel(system, held.job_id)
    assert (shown.status, shown.cancel_requested_at is not None, shown.finished_at) == ("running", True, None)
    assert scenes.event_types(system, held.job_id)[-1] == "cancel_requested"


def test_its_holder_ends_it_with_what_it_has(system: System) -> None:
    held = scenes.running(system)
    scenes.cancel(system, held.job_id)
    assert scenes.end_cancelled(system, held, Batch(checkpoints=[scenes.checkpoint_ref(3)]))
    assert scenes.job(system, held.job_id).status == "cancelled"
    assert scenes.event_types(system, held.job_id)[-1] == "cancelled"


def test_a_job_that_was_done_before_it_heard_has_succeeded(system: System) -> None:
    held = scenes.running(system)
    scenes.cancel(system, held.job_id)
    assert scenes.succeed(system, held)
    assert scenes.job(system, held.job_id).status == "succeeded"


def test_a_lost_job_is_cancelled_at_once(system: System) -> None:
    held = scenes.running(system)
    scenes.expire(system, held.job_id)
    assert scenes.cancel(system, held.job_id).status == "cancelled"
    assert scenes.report(system, held) is Directive.LOST


def test_a_job_given_back_is_cancelled_at_once(system: System) -> None:
    held = scenes.running(system)
    scenes.give_back(system, held)
    assert scenes.cancel(system, held.job_id).status == "cancelled"
    assert scenes.try_claim(system, held.job_id) is None


def test_cancelling_twice_is_noted_once(system: System) -> None:
    held = scenes.running(system)
    first = scenes.values_of(scenes.cancel(system, held.job_id))
    assert scenes.values_of(scenes.cancel(system, held.job_id)) == first
    assert scenes.event_types(system, held.job_id).count("cancel_requested") == 1


def test_cancelling_a_cancelled_job_changes_nothing(system: System) -> None:
    job_id = scenes.submitted(system)
    first = scenes.values_of(scenes.cancel(system, job_id))
    assert scenes.values_of(scenes.cancel(system, job_id)) == first
    assert scenes.event_types(system, job_id).count("cancelled") == 1


def test_a_succeeded_job_is_refused(system: System) -> None:
    held = scenes.running(system)
    scenes.succeed(system, held)
    with pytest.raises(Conflict, match="already succeeded") as refused:
        scenes.cancel(system, held.job_id)
    assert (refused.value.status, refused.value.code) == (409, "job_already_terminal")


def test_a_failed_job_is_refused(system: System) -> None:
    held = scenes.running(system)
    scenes.fail(system, held)
    with pytest.raises(Conflict, match="already failed"):
        scenes.cancel(system, held.job_id)


def test_another_tenant_s_job_is_not_found(system: System) -> None:
    job_id = scenes.submitted(system)
    with pytest.raises(NotFound), system.database.transaction() as session:
        lifecycle.cancel(session, "tenant-b", job_id)
    assert scenes.job(system, job_id).status == "pending"


def test_cancelling_and_claiming_at_once_gives_one_of_the_two(system: System) -> None:
    for _ in range(5):
        job_id, start = scenes.submitted(system), Barrier(2)

        def claim(job_id: str = job_id, start: Barrier = start) -> bool:
            start.wait()
            return scenes.try_claim(system, job_id) is not None

        with ThreadPoolExecutor(1) as pool:
            won = pool.submit(claim)
            start.wait()
            scenes.cancel(system, job_id)
        job = scenes.job(system, job_id)
        assert job.cancel_requested_at is not None
        assert (job.status, job.attempt) == (("running", 1) if won.result() else ("cancelled", 0))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_cancellation_that_comes_as_the_job_succeeds_is_refused(system: System) -> None:
    held = scenes.running(system)
    with pytest.raises(Conflict), system.database.transaction() as session:
        looked_at = session.get_one(Job, held.job_id)
        scenes.succeed(system, held)  # another transaction, between the look and the write of this one
        lifecycle.cancel(session, scenes.TENANT, held.job_id)
        assert looked_at.status == "succeeded"
