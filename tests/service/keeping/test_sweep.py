"""A round of everything: what it removes, and who searches the store."""

from functools import partial

import pytest
from sqlalchemy import update

from service.db.base import database_now
from service.jobs import submission, workers
from service.jobs.models import IdempotencyKey, Worker
from service.keeping import orphans, results
from service.keeping.sweep import Sweep
from service.system import System
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.service.keeping import shelves
from tests.service.keeping.shelves import never
from worker.maintenance import Maintenance

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def seen_days_ago(system: System, worker_id: str, days: float) -> None:
    seen = update(Worker).where(Worker.id == worker_id).values(seen_at=database_now() - days * shelves.DAY_SECONDS)
    scenes.write(system, lambda session: session.execute(seen))


def test_workers_that_died_days_ago_are_forgotten(system: System) -> None:
    for worker, days in ((scenes.WORKER, 3.1), (scenes.OTHER_WORKER, 2.9)):
        scenes.write(system, partial(workers.see_worker, worker=worker))
        seen_days_ago(system, worker.id, days)
    Sweep(system, "wrk_x").round(never)
    with system.database.reading() as session:
        assert [row.id for row in workers.workers_seen(session, 1e9)] == [scenes.OTHER_WORKER.id]


@pytest.mark.parametrize(("hours", "left"), [(23.9, 1), (24.1, 0)])
def test_idempotency_keys_are_forgotten_after_a_day(system: System, hours: float, left: int) -> None:
    asked = scenes.request(scenes.keep_problem(system))
    job = submission.submit(system, system.dispatcher, scenes.TENANT, asked, "key")
    aged = update(IdempotencyKey).values(created_at=database_now() - hours * 3600)
    scenes.write(system, lambda session: session.execute(aged))
    Sweep(system, "wrk_x").round(never)
    assert shelves.count(system, IdempotencyKey) == left
    assert scenes.job(system, job.id).status == "pending"


@on_sqlite
def test_only_the_eldest_of_the_living_searches_the_store(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[str] = []
    for worker in (scenes.WORKER, scenes.OTHER_WORKER):
        scenes.write(system, partial(workers.see_worker, worker=worker))

    def rounds() -> list[str]:
        searches.clear()
        for worker in (scenes.WORKER, scenes.OTHER_WORKER):
            monkeypatch.setattr(orphans, "remove", lambda *_, name=worker.id: searches.append(name))
            Sweep(system, worker.id).round(never)
        return list(searches)

    assert rounds() == ["wrk_one"]
    seen_days_ago(system, "wrk_one", 1)
    assert rounds() == ["wrk_two"]


@on_sqlite
def test_the_store_is_searched_once_in_a_while(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[bool] = []
    monkeypatch.setattr(orphans, "remove", lambda *_: searches.append(True))
    sweep = Sweep(system, "wrk_x")
    for _ in range(3):
        sweep.round(never)
    assert len(searches) == 1


def test_a_worker_sweeps(system: System) -> None:
    held = scenes.running(system)
    scenes.fail(system, held)
    shelves.ended_days_ago(system, held.job_id, 91)
    row = shelves.upload(system, days_old=2)
    maintenance = Maintenance(system, scenes.WORKER)
    maintenance.start()
    until(lambda: scenes.job(system, held.job_id).expired_at is not None)
    until(lambda: row.storage_key not in shelves.keys(system))
    maintenance.stop()


@on_sqlite
def test_a_sweep_that_fails_does_not_keep_a_worker_from_showing_that_it_lives(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("the store speaks in tongues")

    monkeypatch.setattr(results, "expire", broken)
    maintenance = Maintenance(system, scenes.WORKER)
    maintenance.start()
    for _ in range(2):
        seen_days_ago(system, scenes.WORKER.id, 1)
        until(lambda: seen(system))
    maintenance.stop()


def seen(system: System) -> bool:
    with system.database.reading() as session:
        return bool(workers.workers_seen(session, 60.0))
