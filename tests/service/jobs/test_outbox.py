"""Messages to webhooks: one with every end of a job, taken by one worker at a time, never lost before it is settled."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from pydantic_core import from_json
from sqlalchemy import func, select, update

from service.db.base import database_now
from service.jobs import outbox
from service.jobs.models import Job, WebhookMessage
from service.jobs.outbox import Delivery, Due
from service.jobs.values import Batch
from service.jobs.views import announcement, job_view
from service.system import System
from tests.service.jobs import scenes

URL = "https://hooks.example/x"
DAY_SECONDS = 86_400.0


def running(system: System, **changes: Any) -> str:
    return scenes.running(system, webhook_url=URL, **changes).job_id


def succeed(system: System) -> str:
    held = scenes.running(system, webhook_url=URL)
    assert scenes.succeed(system, held)
    assert not scenes.fail(system, held)
    return held.job_id


def fail(system: System) -> str:
    held = scenes.running(system, webhook_url=URL)
    assert scenes.fail(system, held)
    assert not scenes.succeed(system, held)
    return held.job_id


def fail_at_the_last_attempt(system: System) -> str:
    held = scenes.running(system, webhook_url=URL, max_attempts=1)
    assert scenes.fail(system, held, scenes.RETRY)
    return held.job_id


def end_cancelled(system: System) -> str:
    held = scenes.running(system, webhook_url=URL)
    scenes.cancel(system, held.job_id)
    assert scenes.end_cancelled(system, held)
    return held.job_id


def cancel_pending(system: System) -> str:
    job_id = scenes.submitted(system, webhook_url=URL)
    for _ in range(2):
        scenes.cancel(system, job_id)
    return job_id


def lose_cancelled(system: System) -> str:
    job_id = running(system)
    scenes.cancel(system, job_id)
    scenes.expire(system, job_id)
    for _ in range(2):
        scenes.reap(system)
    return job_id


def lose_at_the_last_attempt(system: System) -> str:
    job_id = running(system, max_attempts=1)
    scenes.expire(system, job_id)
    for _ in range(2):
        scenes.reap(system)
    return job_id


def miss_the_deadline(system: System) -> str:
    job_id = scenes.submitted(system, webhook_url=URL, deadline_seconds=1.0)
    scenes.set_columns(system, job_id, created_at=database_now() - 2.0)
    for _ in range(2):
        scenes.reap(system)
    return job_id


ENDS: dict[str, tuple[Callable[[System], str], str]] = {
    "success": (succeed, "succeeded"),
    "failure": (fail, "failed"),
    "the last attempt's failure": (fail_at_the_last_attempt, "failed"),
    "cancellation while running": (end_cancelled, "cancelled"),
    "cancellation while pending": (cancel_pending, "cancelled"),
    "cancellation of a lost job": (lose_cancelled, "cancelled"),
    "the loss of the last worker": (lose_at_the_last_attempt, "failed"),
    "a deadline": (miss_the_deadline, "failed"),
}


def messages(system: System) -> list[WebhookMessage]:
    with system.database.reading() as session:
        return list(session.scalars(select(WebhookMessage).order_by(WebhookMessage.id)))


def due(system: System, limit: int = 100) -> list[Due]:
    with system.database.reading() as session:
        return outbox.due(session, limit)


def take(system: System, asked: Due, seconds: float = 30.0) -> Delivery | None:
    return scenes.write(system, lambda session: outbox.take(session, asked, seconds))


def taken(system: System) -> Delivery:
    (asked,) = due(system)
    found = take(system, asked)
    assert found is not None
    return found


def let_be_due(system: System, seconds_ago: float = 1.0) -> None:
    now = update(WebhookMessage).where(WebhookMessage.due_at.is_not(None))
    scenes.write(system, lambda session: session.execute(now.values(due_at=database_now() - seconds_ago)))


@pytest.mark.parametrize("end", ENDS)
def test_every_end_of_a_job_leaves_one_message(system: System, end: str) -> None:
    make_end, status = ENDS[end]
    job_id = make_end(system)
    assert scenes.job(system, job_id).status == status
    (message,) = messages(system)
    assert (message.job_id, message.tries, message.delivered_at) == (job_id, 0, None)
    assert [asked.id for asked in due(system)] == [message.id]


def test_a_job_without_a_webhook_leaves_none(system: System) -> None:
    scenes.succeed(system, scenes.running(system))
    scenes.cancel(system, scenes.submitted(system))
    assert messages(system) == []


def test_an_attempt_that_is_not_the_last_leaves_none(system: System) -> None:
    held = scenes.running(system, webhook_url=URL)
    scenes.fail(system, held, scenes.RETRY)
    scenes.give_back(system, scenes.claimed(system, held.job_id))
    lost = scenes.claimed(system, held.job_id)
    scenes.expire(system, lost.job_id)
    scenes.reap(system)
    assert messages(system) == []


def test_an_end_that_is_rolled_back_leaves_none(system: System) -> None:
    held = scenes.running(system, webhook_url=URL)

    def broken(session: Any) -> None:
        from service.jobs import lifecycle

        lifecycle.end_cancelled(session, held, Batch())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        scenes.write(system, broken)
    assert (messages(system), scenes.job(system, held.job_id).status) == ([], "running")


def test_a_message_in_hand_is_nobody_else_s_until_its_time_is_over(system: System) -> None:
    succeed(system)
    first = taken(system)
    assert (first.tries, first.url, due(system)) == (1, URL, [])
    let_be_due(system)
    second = taken(system)
    assert (second.id, second.tries, second.body) == (first.id, 2, first.body)


def test_of_many_workers_one_takes_a_message(system: System) -> None:
    succeed(system)
    (asked,) = due(system)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: take(system, asked), range(8)))
    assert [delivery is not None for delivery in found].count(True) == 1
    assert messages(system)[0].tries == 1


def test_a_delivered_message_is_done_with(system: System) -> None:
    succeed(system)
    delivery = taken(system)
    scenes.write(system, partial(outbox.note_delivered, delivery=delivery))
    (message,) = messages(system)
    assert (message.due_at, message.delivered_at is not None, due(system)) == (None, True, [])


def test_a_failed_message_is_due_again_after_the_pause(system: System) -> None:
    succeed(system)
    delivery = taken(system)
    scenes.write(system, lambda session: outbox.note_failed(session, delivery, 300.0))
    (message,) = messages(system)
    assert take(system, Due(id=message.id, tries=message.tries)) is None
    assert message.due_at is not None
    assert 290 < message.due_at.timestamp() - scenes.now(system) <= 300


def test_a_message_that_is_given_up_is_never_due(system: System) -> None:
    succeed(system)
    delivery = taken(system)
    scenes.write(system, lambda session: outbox.note_failed(session, delivery, None))
    (message,) = messages(system)
    assert (message.due_at, message.delivered_at, due(system)) == (None, None, [])


def test_who_was_too_slow_changes_nothing_but_that_it_arrived(system: System) -> None:
    succeed(system)
    slow = taken(system)
    let_be_due(system)
    quick = taken(system)
    in_hand = messages(system)[0].due_at
    scenes.write(system, lambda session: outbox.note_failed(session, slow, None))
    assert messages(system)[0].due_at == in_hand
    scenes.write(system, partial(outbox.note_delivered, delivery=slow))
    delivered_at = messages(system)[0].delivered_at
    assert delivered_at is not None
    scenes.write(system, lambda session: outbox.note_failed(session, quick, 5.0))
    scenes.write(system, partial(outbox.note_delivered, delivery=quick))
    assert (messages(system)[0].due_at, messages(system)[0].delivered_at) == (None, delivered_at)


def test_one_tenant_s_many_messages_do_not_keep_another_s_waiting(system: System) -> None:
    many = [succeed(system) for _ in range(4)]
    other = succeed(system)
    scenes.set_columns(system, other, tenant="tenant-b")
    by_id = {message.id: message.job_id for message in messages(system)}
    assert {by_id[asked.id] for asked in due(system, 2)} == {many[0], other}
    assert [by_id[asked.id] for asked in due(system)][2:] == many[1:]


def test_the_body_says_what_became_of_the_job_and_no_more(system: System) -> None:
    held = scenes.running(system, webhook_url=URL, tags={"run": "7"})
    scenes.fail(system, held)
    job = scenes.job(system, held.job_id)
    told, shown = from_json(announcement(job)), job_view(job)
    assert (told["type"], set(told)) == ("job.failed", {"type", "timestamp", "data"})
    assert told["timestamp"] == told["data"]["finished_at"]
    assert told["timestamp"].endswith("Z")
    assert told["data"]["error"]["code"] == "diverged"
    assert told["data"]["tags"] == {"run": "7"}
    assert {name: told["data"][name] for name in ("id", "kind", "status", "problem_id", "links")} == {
        name: shown[name] for name in ("id", "kind", "status", "problem_id", "links")
    }


def test_a_summary_of_any_numbers_is_json(system: System) -> None:
    held = scenes.running(system, webhook_url=URL)
    scenes.succeed(system, held)
    job = scenes.job(system, held.job_id)
    job.summary = {"loss": float("nan"), "most": float("inf")}
    assert from_json(announcement(job))["data"]["summary"] == {"loss": None, "most": None}


def test_the_body_stays_the_same_when_the_results_expire(system: System) -> None:
    job_id = succeed(system)
    before = announcement(scenes.job(system, job_id))
    scenes.set_columns(system, job_id, expired_at=database_now(), version=Job.version + 1)
    assert announcement(scenes.job(system, job_id)) == before


def test_a_forgotten_webhook_keeps_nobody_from_deleting_the_job(system: System) -> None:
    job_id, other = succeed(system), succeed(system)
    scenes.write(system, partial(outbox.forget_webhook, job_id=job_id))
    assert [message.job_id for message in messages(system)] == [other]


@pytest.mark.parametrize(("days", "left"), [(89.9, 3), (90.1, 1)])
def test_settled_messages_are_kept_so_long(system: System, days: float, left: int) -> None:
    for end in (succeed, fail, cancel_pending):
        end(system)
    delivered, given_up, _ = (take(system, asked) for asked in due(system))
    assert delivered is not None
    assert given_up is not None
    scenes.write(system, lambda session: outbox.note_delivered(session, delivered))
    scenes.write(system, lambda session: outbox.note_failed(session, given_up, None))
    aged = update(WebhookMessage).values(created_at=database_now() - days * DAY_SECONDS)
    scenes.write(system, lambda session: session.execute(aged))
    with system.database.reading() as session:
        assert outbox.counts(session) == {"delivered": 1, "given_up": 1, "waiting": 1}
    scenes.write(system, lambda session: outbox.forget_settled(session, 90 * DAY_SECONDS, 10))
    with system.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(WebhookMessage)) == left
