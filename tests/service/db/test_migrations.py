"""Migrations on both databases: up, up again, compared with the models, down and up again, by many at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.util import CommandError
from sqlalchemy import inspect, text

from service.db.migrate import config, upgrade
from service.db.session import Database
from service.tables import Base

PROCESSES = 3


def tables(url: str) -> set[str]:
    database = Database(url)
    try:
        return set(inspect(database.engine).get_table_names())
    finally:
        database.dispose()


def test_an_empty_database_gets_every_table(empty_url: str) -> None:
    upgrade(empty_url)
    assert tables(empty_url) == {*Base.metadata.tables, "alembic_version"}


def test_upgrading_twice_is_upgrading_once(empty_url: str) -> None:
    upgrade(empty_url)
    upgrade(empty_url)
    assert tables(empty_url) == {*Base.metadata.tables, "alembic_version"}


def test_the_migrated_schema_is_the_one_the_models_describe(empty_url: str) -> None:
    upgrade(empty_url)
    command.check(config(empty_url, Base.metadata))


def test_a_change_of_the_models_would_be_seen(empty_url: str) -> None:
    upgrade(empty_url)
    database = Database(empty_url)
    with database.transaction() as session:
        session.execute(text("DROP INDEX ix_jobs_page"))
    database.dispose()
    with pytest.raises(Exception, match="ix_jobs_page"):
        command.check(config(empty_url, Base.metadata))


def test_all_the_way_down_and_up_again(empty_url: str) -> None:
    upgrade(empty_url)
    command.downgrade(config(empty_url), "base")
    assert tables(empty_url) == {"alembic_version"}
    upgrade(empty_url)
    command.check(config(empty_url, Base.metadata))


def test_what_a_database_holds_survives_an_upgrade(empty_url: str) -> None:
    upgrade(empty_url)
    database = Database(empty_url)
    with database.transaction() as session:
        columns = "(id, host, queues, device, versions, started_at, seen_at)"
        session.execute(text(f"INSERT INTO workers {columns} VALUES ('w', 'h', '[]', 'cpu', '{{}}', 1.0, 2.0)"))
    upgrade(empty_url)
    with database.reading() as session:
        assert session.scalar(text("SELECT id FROM workers")) == "w"
    database.dispose()


def test_a_migration_that_fails_leaves_no_connection_open(postgres_url: str) -> None:
    with pytest.raises(CommandError):
        upgrade(postgres_url, "unheard_of")
    database = Database(postgres_url)
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
    )
    with database.reading() as session:
        open_connections = session.scalar(others)
    database.dispose()
    assert open_connections == 0


def test_many_processes_may_upgrade_at_once(empty_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "L0_DATABASE_URL": empty_url, "L0_DATA_DIR": str(tmp_path)}
    program = "import sys; from service.db.migrate import upgrade; upgrade(sys.argv[1])"
    running = [
        subprocess.Popen([sys.executable, "-c", program, empty_url], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    told = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES, told
    assert tables(empty_url) == {*Base.metadata.tables, "alembic_version"}
