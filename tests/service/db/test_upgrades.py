"""From every released revision to the present and back, with data: nothing is lost, and the release before goes on."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, Table, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.db.base import database_now
from service.db.session import Database
from service.settings import Settings
from service.system import System
from tests.faults.processes import workers
from tests.faults.test_workers_killed import has_succeeded
from tests.service.db import past
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

every_release = pytest.mark.parametrize("revision", past.RELEASED)


def test_there_are_releases_to_come_from() -> None:
    assert past.RELEASED[0] == "0001"
    assert past.OF_THIS_LINE


@every_release
def test_what_a_database_holds_is_the_same_after_the_upgrade_and_after_the_way_back(
    empty_url: str, revision: str
) -> None:
    database = past.at(empty_url, revision)
    tables = past.schema(database)
    before = past.fill(database)
    assert all(before.values())
    assert [row["status"] for row in before["jobs"]] == list(past.STATES)
    past.up(empty_url)
    assert past.rows(database, tables) == before
    added = past.fill_what_is_new(database, tables)
    past.down(empty_url, revision)
    assert past.rows(database, past.schema(database)) == before
    assert column_names(past.schema(database)) == column_names(tables)
    assert added
    database.dispose()


def column_names(tables: MetaData) -> dict[str, list[str]]:
    return {table.name: [column.name for column in table.columns] for table in tables.sorted_tables}


@pytest.mark.parametrize("revision", past.OF_THIS_LINE)
def test_the_statements_of_a_release_go_on_after_the_upgrade(empty_url: str, revision: str) -> None:
    """Its models name every column of its schema in each INSERT, SELECT and UPDATE, and it knows no other."""
    database = past.at(empty_url, revision)
    tables = past.schema(database)
    past.up(empty_url)
    written = past.fill(database, tables)
    assert past.rows(database, tables) == written
    for table in tables.sorted_tables:
        with database.transaction() as session:
            for row in written[table.name]:
                session.execute(upsert(database, table, row))
                session.execute(update(table).where(*is_row(table, row)).values(without_keys(table, row)))
    assert past.rows(database, tables) == written
    database.dispose()


def upsert(database: Database, table: Table, row: dict[str, Any]) -> Any:
    """Write a row that is there once more, as the models do where a report comes twice."""
    dialect = sqlite if database.engine.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).values(row)
    keys = [column.name for column in table.primary_key]
    return statement.on_conflict_do_update(index_elements=keys, set_=without_keys(table, row) or row)


def without_keys(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in table.primary_key.columns}


def is_row(table: Table, row: dict[str, Any]) -> list[Any]:
    return [column == row[column.name] for column in table.primary_key]


@every_release
def test_a_pending_job_and_a_lost_one_of_before_run_to_their_end_after_the_upgrade(
    empty_url: str, revision: str, tmp_path: Path, redis_url: str
) -> None:
    database = past.at(empty_url, revision)
    settings = Settings(
        data_dir=tmp_path, database_url=empty_url, broker_url=redis_url, reap_seconds=0.5, republish_seconds=1.0
    )
    scenes.empty_broker(redis_url)
    system = System.open(settings)
    store_problem(system)
    tables = past.schema(database)
    for job_id, state in (("job_pending", pending()), ("job_lost", lost())):
        write_job(database, tables, job_id, state)
    past.up(empty_url)
    with workers(system, 1):
        until(lambda: has_succeeded(system, "job_pending") and has_succeeded(system, "job_lost"))
    assert [scenes.job(system, job_id).attempt for job_id in ("job_pending", "job_lost")] == [1, 2]
    assert "worker_lost" in scenes.event_types(system, "job_lost")
    for opened in (database, system.database):
        opened.dispose()


def store_problem(system: System) -> None:
    path = system.store.scratch() / "problem.safetensors"
    runs.PROBLEM.save(path)
    system.store.put("problems/prb_old", path)
    path.unlink(missing_ok=True)


def pending() -> dict[str, Any]:
    return {"status": "pending", "stage": "queued", "attempt": 0}


def lost() -> dict[str, Any]:
    held = {"lease_token": "a token", "lease_expires_at": database_now() - 60.0, "worker": "wrk_of_before"}
    return {"status": "running", "stage": "selecting", "attempt": 1, "started_at": database_now() - 90.0, **held}


def write_job(database: Database, tables: MetaData, job_id: str, state: dict[str, Any]) -> None:
    """Write a job and its problem with the columns of an earlier release alone."""
    problem: dict[str, Any] = {
        "id": "prb_old",
        "sha256": runs.PROBLEM.sha256,
        "storage_key": "problems/prb_old",
        "sizes": {},
    }
    problem |= {"tenant": scenes.TENANT, "kind": "calibration", "findings": [], "tags": {}, "created_at": 1.0}
    job: dict[str, Any] = {
        "id": job_id,
        "tenant": scenes.TENANT,
        "kind": "calibration",
        "problem_id": "prb_old",
        "seed": 1,
    }
    job |= {"problem_sha256": runs.PROBLEM.sha256, "hyperparameters": {"epochs": 5}, "device": "cpu", "queue": "cpu"}
    job |= {"tags": {}, "progress": {}, "versions": {}, "version": 1, "last_event": 0, "max_attempts": 3}
    job |= {"created_at": database_now() - 100.0, "published_at": database_now() - 95.0}
    with database.transaction() as session:
        if not session.scalar(select(func.count()).select_from(tables.tables["problems"])):
            session.execute(insert(tables.tables["problems"]).values(problem))
        session.execute(insert(tables.tables["jobs"]).values(job | state))
