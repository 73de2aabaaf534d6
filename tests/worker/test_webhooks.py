"""Webhooks from the end of a job to a receiver: once where all is well, else again, under the same id."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydantic_core import from_json
from sqlalchemy import select, update
from structlog.testing import capture_logs

from service.db.base import database_now
from service.jobs import outbox, webhook_secrets
from service.jobs.models import WebhookMessage
from service.keeping.sweep import Sweep
from service.system import System
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.service.webhooks.receivers import HERE, Receiver, receiver, resolve
from worker.maintenance import Maintenance
from worker.webhooks import PAUSES_SECONDS, Webhooks

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
AT_ONCE = (0.0, 0.0)


@pytest.fixture
def system(system: System) -> System:
    """A system whose webhooks may reach this machine."""
    return replace(system, settings=system.settings.model_copy(update={"webhook_allowed_networks": HERE}))


def never() -> bool:
    return False


def ended(system: System, url: str) -> str:
    held = scenes.running(system, webhook_url=url)
    assert scenes.succeed(system, held)
    return held.job_id


def tell(system: System, pauses: tuple[float, ...] = PAUSES_SECONDS) -> list[str]:
    """Make one round; gives the names of what was logged."""
    with capture_logs() as logged:
        Webhooks(system, pauses).round(never)
    return [line["event"] for line in logged if line["event"].startswith("webhook_")]


def message(system: System) -> WebhookMessage:
    with system.database.reading() as session:
        return session.scalars(select(WebhookMessage)).one()


def let_be_due(system: System) -> None:
    due = update(WebhookMessage).where(WebhookMessage.due_at.is_not(None)).values(due_at=database_now() - 1.0)
    scenes.write(system, lambda session: session.execute(due))


def secret(system: System) -> str:
    return scenes.write(system, lambda session: webhook_secrets.secret_of(session, scenes.TENANT)).secret


def ids(hook: Receiver) -> list[str]:
    return [came.id for came in hook.received]


def test_each_end_is_told_once_and_signed(system: System) -> None:
    with receiver() as hook:
        succeeded = ended(system, hook.url)
        failed = scenes.running(system, webhook_url=hook.url)
        scenes.fail(system, failed)
        cancelled = scenes.submitted(system, webhook_url=hook.url)
        scenes.cancel(system, cancelled)
        assert tell(system) == ["webhook_delivered"] * 3
        assert tell(system) == []
    told = {came.id: from_json(came.body) for came in hook.received}
    assert {(body["type"], body["data"]["id"]) for body in told.values()} == {
        ("job.succeeded", succeeded),
        ("job.failed", failed.job_id),
        ("job.cancelled", cancelled),
    }
    assert len(told) == 3
    assert all(came.is_signed_with(secret(system)) for came in hook.received)


def test_a_refused_message_comes_again_with_the_same_id_and_body(system: System) -> None:
    with receiver(500, 429, 200) as hook:
        ended(system, hook.url)
        assert tell(system, AT_ONCE) == ["webhook_failed", "webhook_failed", "webhook_delivered"]
    assert len(set(ids(hook))) == 1
    assert len({came.body for came in hook.received}) == 1
    assert all(came.is_signed_with(secret(system)) for came in hook.received)
    assert (message(system).tries, message(system).due_at) == (3, None)


def test_a_rotated_secret_signs_beside_the_new_one(system: System) -> None:
    first = secret(system)
    second = scenes.write(system, lambda session: webhook_secrets.rotate(session, scenes.TENANT)).secret
    with receiver() as hook:
        ended(system, hook.url)
        tell(system)
    assert hook.received[0].is_signed_with(first)
    assert hook.received[0].is_signed_with(second)


def test_the_pauses_grow_over_three_days() -> None:
    assert list(PAUSES_SECONDS) == sorted(PAUSES_SECONDS)
    assert 3 * 86_400 < sum(PAUSES_SECONDS) < 4 * 86_400


def test_it_waits_before_it_comes_again(system: System) -> None:
    with receiver(500) as hook:
        ended(system, hook.url)
        for pause in PAUSES_SECONDS:
            assert tell(system) == ["webhook_failed"]
            due_at = message(system).due_at
            assert due_at is not None
            assert pause - 5 < due_at.timestamp() - scenes.now(system) <= pause
            let_be_due(system)
        assert tell(system) == ["webhook_given_up"]
        assert tell(system) == []
    assert len(set(ids(hook))) == 1
    assert (len(ids(hook)), message(system).due_at, message(system).delivered_at) == (10, None, None)


@on_sqlite
def test_a_receiver_that_is_gone_for_good_is_left_alone(system: System) -> None:
    with receiver(410) as hook:
        ended(system, hook.url)
        assert tell(system, AT_ONCE) == ["webhook_given_up"]
    assert len(hook.received) == 1


@on_sqlite
def test_a_redirect_is_not_followed(system: System) -> None:
    with receiver() as elsewhere, receiver(307, location=elsewhere.url) as hook:
        ended(system, hook.url)
        assert tell(system) == ["webhook_failed"]
    assert (len(hook.received), elsewhere.received) == (1, [])


@on_sqlite
def test_a_name_that_leads_inward_by_now_is_told_nothing(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as hook:
        asked = resolve(monkeypatch, {"hooks.example": ["10.0.0.1"]})
        ended(system, f"https://hooks.example:{hook.port}/")
        with capture_logs() as logged:
            Webhooks(system).round(never)
    reasons = [line["reason"] for line in logged if line["event"] == "webhook_failed"]
    assert [reason.partition("; ")[0] for reason in reasons] == [
        "'hooks.example' leads to an address that is not of the public internet"
    ]
    assert (hook.received, asked) == ([], ["hooks.example"])
    assert message(system).delivered_at is None


@on_sqlite
def test_the_log_names_the_host_and_nothing_else_of_the_url(system: System) -> None:
    with receiver(500) as hook:
        job_id = ended(system, hook.url)
        with capture_logs() as logged:
            Webhooks(system).round(never)
    (line,) = [line for line in logged if line["event"] == "webhook_failed"]
    assert (line["job_id"], line["host"], line["reason"], line["again_in_seconds"]) == (
        job_id,
        "127.0.0.1",
        "status 500",
        5.0,
    )
    assert "/hooks" not in str(line)


def test_of_two_workers_one_sends(system: System) -> None:
    with receiver() as hook:
        for _ in range(12):
            ended(system, hook.url)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: Webhooks(system).round(never), range(2)))
    assert len(ids(hook)) == len(set(ids(hook))) == 12


def test_a_message_whose_worker_died_over_it_is_sent_again(system: System) -> None:
    with receiver() as hook:
        ended(system, hook.url)
        with system.database.reading() as session:
            (asked,) = outbox.due(session, 10)
        dead = scenes.write(system, lambda session: outbox.take(session, asked, 30.0))
        assert dead is not None
        assert tell(system) == []
        let_be_due(system)
        assert tell(system) == ["webhook_delivered"]
    assert ids(hook) == [dead.id]


@on_sqlite
def test_a_round_that_shall_stop_sends_nothing_more(system: System) -> None:
    with receiver() as hook:
        ended(system, hook.url)
        Webhooks(system).round(lambda: True)
    assert hook.received == []


def test_a_worker_tells_webhooks(system: System) -> None:
    maintenance = Maintenance(system, scenes.WORKER)
    with receiver() as hook:
        maintenance.start()
        try:
            ended(system, hook.url)
            until(lambda: message(system).delivered_at)
        finally:
            maintenance.stop()
    assert len(hook.received) == 1


@pytest.mark.parametrize(("days", "left"), [(89.0, 1), (91.0, 0)])
def test_a_sweep_forgets_what_was_delivered_long_ago(system: System, days: float, left: int) -> None:
    with receiver() as hook:
        ended(system, hook.url)
        tell(system)
    aged = update(WebhookMessage).values(created_at=database_now() - days * 86_400)
    scenes.write(system, lambda session: session.execute(aged))
    Sweep(system, "wrk_x").round(never)
    with system.database.reading() as session:
        assert len(list(session.scalars(select(WebhookMessage)))) == left
