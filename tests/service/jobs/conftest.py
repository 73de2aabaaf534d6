"""Every test on jobs begins with empty queues."""

import pytest

from tests.service.jobs.scenes import empty_broker


@pytest.fixture(autouse=True)
def _empty_queues(redis_url: str) -> None:
    empty_broker(redis_url)
