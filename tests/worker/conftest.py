"""Every test of the worker begins with empty queues and must leave nothing on its way in."""

from collections.abc import Iterator

import pytest

from service.system import System
from tests.service.jobs.scenes import empty_broker
from tests.worker.runs import leftovers


@pytest.fixture(autouse=True)
def _empty_queues(redis_url: str) -> None:
    empty_broker(redis_url)


@pytest.fixture
def tidy(system: System) -> Iterator[System]:
    """A system in which no temporary file may be left."""
    yield system
    assert leftovers(system) == []
