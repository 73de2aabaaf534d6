"""What webhooks are signed with: one secret a tenant, made once, replaced with a day's overlap."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from service.db.base import database_now
from service.jobs import webhook_secrets
from service.jobs.models import WebhookSecret
from service.system import System
from tests.service.jobs import scenes

HOUR_SECONDS = 3600.0


def secret_of(system: System, tenant: str = scenes.TENANT) -> str:
    return scenes.write(system, lambda session: webhook_secrets.secret_of(session, tenant)).secret


def rotate(system: System) -> str:
    return scenes.write(system, lambda session: webhook_secrets.rotate(session, scenes.TENANT)).secret


def signing(system: System) -> list[str]:
    return scenes.write(system, lambda session: webhook_secrets.signing(session, scenes.TENANT))


def test_a_secret_is_made_once_a_tenant(system: System) -> None:
    assert secret_of(system) == secret_of(system)
    assert secret_of(system) != secret_of(system, "tenant-b")
    assert signing(system) == [secret_of(system)]


def test_who_asks_at_the_same_moment_gets_the_same_secret(system: System) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: secret_of(system), range(8)))) == 1


@pytest.mark.parametrize(("hours", "n_signing"), [(23.9, 2), (24.1, 1)])
def test_the_secret_before_signs_for_a_day(system: System, hours: float, n_signing: int) -> None:
    first, second = secret_of(system), rotate(system)
    assert first != second == secret_of(system)
    aged = update(WebhookSecret).values(created_at=database_now() - hours * HOUR_SECONDS)
    scenes.write(system, lambda session: session.execute(aged))
    assert signing(system) == [second, first][:n_signing]


def test_the_one_before_the_last_signs_no_more(system: System) -> None:
    first, second, third = secret_of(system), rotate(system), rotate(system)
    assert signing(system) == [third, second]
    assert first not in signing(system)
