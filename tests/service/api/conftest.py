"""Doors to knock at: one real process for the whole run, and one application a test on every database."""

from collections.abc import Iterator

import pytest

from service.db.migrate import upgrade
from service.settings import Settings
from tests.service.api.door import Door, called_here, open_door
from tests.service.api.endings import Finished, really_run
from tests.service.api.keyed import Keyed, asking_for_keys


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Door]:
    """The API as a process of its own on SQLite, shared: a test must not mind what others left."""
    folder = tmp_path_factory.mktemp("door")
    settings = Settings(data_dir=folder, broker_url=redis_url, max_upload_bytes=2**20)
    upgrade(settings.database)
    with open_door(settings) as opened:
        yield opened


@pytest.fixture
def inside(settings: Settings) -> Iterator[Door]:
    """The application in this process, with an empty database; once on SQLite and once on PostgreSQL."""
    with called_here(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Keyed]:
    """The application in this process, asking for keys, on SQLite; shared by a module: take a tenant of your own."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("keyed"), broker_url=redis_url)
    upgrade(settings.database)
    with asking_for_keys(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def problem_id(door: Door) -> str:
    """A problem that is there."""
    return door.problem()


@pytest.fixture(scope="session")
def finished(door: Door) -> Finished:
    """A job that the engine has run to its end."""
    return really_run(door)
