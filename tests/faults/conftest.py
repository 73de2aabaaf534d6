"""Every test of faults begins with empty queues."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.processes import end
from service.settings import Settings
from service.system import System
from tests.faults.processes import Broker
from tests.service.jobs.scenes import empty_broker


@pytest.fixture(autouse=True)
def _empty_queues(redis_url: str) -> None:
    empty_broker(redis_url)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that no other test uses."""
    made = Broker(tmp_path / "own-broker")
    yield made
    end(made.process, 10)


@pytest.fixture
def own_system(settings: Settings, broker: Broker) -> Iterator[System]:
    """A system on that broker."""
    made = System.open(settings.model_copy(update={"broker_url": broker.url}))
    yield made
    made.database.dispose()
