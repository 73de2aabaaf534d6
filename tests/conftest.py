"""What every test may use: real databases and brokers, settings on a folder of their own, a line that names skips."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from sqlalchemy import text

from service.db.migrate import upgrade
from service.db.session import Database
from service.settings import Settings
from service.system import System
from service.tables import Base
from tests.buckets import Bucket
from tests.lines import Line
from tests.servers import postgres_server, redis_server, s3_server
from tests.services import quick_settings

collect_ignore = ["e2e/journey.py", "kinds/counting_known/sitecustomize.py"]  # programs: they act when imported
hypothesis_settings.register_profile("no clock", deadline=None)  # how long a case takes is the machine's affair
hypothesis_settings.load_profile("no clock")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL with our schema."""
    with postgres_server() as url:
        upgrade(url)
        yield url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis-protocol server."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """A real S3-compatible server, with credentials for it in the environment."""
    with pytest.MonkeyPatch.context() as changed, s3_server() as url:
        changed.setenv("AWS_ACCESS_KEY_ID", os.environ.get("AWS_ACCESS_KEY_ID", "somebody"))
        changed.setenv("AWS_SECRET_ACCESS_KEY", os.environ.get("AWS_SECRET_ACCESS_KEY", "something"))
        yield url


@pytest.fixture
def bucket(s3_url: str) -> Bucket:
    """An empty bucket."""
    return Bucket(s3_url)


@pytest.fixture
def line(s3_url: str) -> Iterator[Line]:
    """A line to its server."""
    laid = Line(s3_url)
    yield laid
    laid.end()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated, empty database: each test that asks runs on both kinds."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'l0.db'}"
        upgrade(url)
        yield url
        return
    url = request.getfixturevalue("postgres_url")
    yield url
    _empty(url)


def _empty(url: str) -> None:
    database = Database(url)
    with database.transaction() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(text(f'TRUNCATE TABLE "{table.name}" CASCADE'))
    database.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same as an open `Database`."""
    opened = Database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """Settings on a folder of the test's own, with quick leases."""
    return quick_settings(tmp_path, database_url=database_url, broker_url=redis_url)


@pytest.fixture
def system(settings: Settings) -> Iterator[System]:
    """An open system on those settings."""
    opened = System.open(settings)
    yield opened
    opened.database.dispose()


Reporter = Callable[[str], None]
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped and why."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _skipped.append(f"{report.nodeid} ({reason.removeprefix('Skipped: ')})")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Close with a line that counts, and names what was skipped."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or not terminal.stats:
        return
    count = {name: len(terminal.stats.get(name, [])) for name in ("passed", "failed", "error", "skipped")}
    named = f": {'; '.join(_skipped)}" if _skipped else ""
    failed = count["failed"] + count["error"]
    terminal.write_line(f"{count['passed']} passed, {failed} failed, {count['skipped']} skipped{named}")
