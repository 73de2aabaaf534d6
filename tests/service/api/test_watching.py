"""Waiting and reading together: one question for all, no news lost, no answer older than its question."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from sqlalchemy import delete, event
from sqlalchemy.exc import OperationalError

from service.api.reading import JobReader
from service.api.watching import Watcher
from service.errors import NotFound
from service.jobs import repository, traces
from service.jobs.models import Event, Job
from service.system import System
from tests.service.jobs import scenes

T = TypeVar("T")
LONG = 60.0


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def asked_of(system: System) -> list[Any]:
    """Give a list to which the parameters of every statement that reads are added."""
    seen: list[Any] = []
    event.listen(system.database._reader, "before_cursor_execute", lambda *told: seen.append(told[3]))
    return seen


def add_event(system: System, job_id: str) -> None:
    scenes.write(system, lambda session: traces.add_event(session, job_id, scenes.note("news")))


def test_one_question_serves_all_who_wait(system: System) -> None:
    problem = scenes.keep_problem(system)
    jobs = [scenes.job(system, scenes.submitted(system, problem)) for _ in range(4)]
    asked = asked_of(system)

    async def wait() -> list[bool]:
        watcher = Watcher(system.database)
        waiting = [asyncio.create_task(watcher.news(job, LONG)) for job in jobs for _ in range(25)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in waiting)
        for job in jobs:
            await asyncio.to_thread(add_event, system, job.id)
        return await asyncio.gather(*waiting)

    assert run(wait()) == [True] * 100
    assert len(asked[0]) == 4  # ids: each job once


@pytest.mark.parametrize("change", ["event", "cancel", "claim"])
def test_what_happened_before_one_waits_is_news(system: System, change: str) -> None:
    job = scenes.job(system, scenes.submitted(system))
    {"event": add_event, "cancel": scenes.cancel, "claim": scenes.claimed}[change](system, job.id)  # type: ignore[operator]
    assert run(Watcher(system.database).news(job, LONG))


def test_a_job_that_is_gone_is_news(system: System) -> None:
    job = scenes.job(system, scenes.submitted(system))
    scenes.write(system, lambda session: session.execute(delete(Event)))
    scenes.write(system, lambda session: session.execute(delete(Job)))
    assert run(Watcher(system.database).news(job, LONG))


def test_nobody_looks_where_nobody_waits(system: System) -> None:
    job = scenes.job(system, scenes.submitted(system))

    async def wait() -> None:
        watcher = Watcher(system.database)
        assert not await watcher.news(job, 0.01)
        look = watcher._look
        assert look is not None
        await look  # it ends by itself
        waiting = asyncio.create_task(watcher.news(job, LONG))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert watcher._waiters == set()

    run(wait())


def test_a_database_that_is_away_tells_nothing_and_ends_nothing(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = scenes.job(system, scenes.submitted(system))
    look, failed = Watcher._moves, threading.Event()

    def away_at_first(*asked: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise OperationalError("SELECT", {}, Exception("away"))
        return look(*asked)

    monkeypatch.setattr(Watcher, "_moves", away_at_first)
    add_event(system, job.id)
    assert run(Watcher(system.database).news(job, LONG))
    assert failed.is_set()


def test_many_who_ask_at_once_share_one_statement(system: System) -> None:
    problem = scenes.keep_problem(system)
    jobs = [scenes.submitted(system, problem) for _ in range(10)]
    asked = asked_of(system)

    async def read() -> list[Job]:
        reader = JobReader(system.database)
        return await asyncio.gather(*(reader.job(scenes.TENANT, job_id) for job_id in jobs * 20))

    assert [job.id for job in run(read())] == jobs * 20
    assert len(asked) == 1


def test_another_tenant_s_job_is_not_found_even_in_the_same_read(system: System) -> None:
    job_id = scenes.submitted(system)

    async def read() -> list[Any]:
        reader = JobReader(system.database)
        tenants = (scenes.TENANT, "another")
        return await asyncio.gather(*(reader.job(tenant, job_id) for tenant in tenants), return_exceptions=True)

    mine, other = run(read())
    assert mine.id == job_id
    assert isinstance(other, NotFound)


def test_no_answer_is_older_than_its_question(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = scenes.submitted(system)
    read, has_read, goes_on = JobReader._read, threading.Event(), threading.Event()

    def slowly(*asked: Any) -> Any:
        found = read(*asked)
        has_read.set()
        assert goes_on.wait(LONG)
        return found

    monkeypatch.setattr(JobReader, "_read", slowly)

    async def ask() -> tuple[Job, Job]:
        reader = JobReader(system.database)
        first = asyncio.create_task(reader.job(scenes.TENANT, job_id))
        await asyncio.to_thread(has_read.wait, LONG)
        await asyncio.to_thread(scenes.cancel, system, job_id)
        second = asyncio.create_task(reader.job(scenes.TENANT, job_id))
        await asyncio.sleep(0)
        goes_on.set()
        return await first, await second

    first, second = run(ask())
    assert (first.status, second.status) == ("pending", "cancelled")


def test_who_leaves_takes_no_answer_from_the_others(system: System) -> None:
    job_id = scenes.submitted(system)

    async def read() -> Job:
        reader = JobReader(system.database)
        leaves, stays = (asyncio.create_task(reader.job(scenes.TENANT, job_id)) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        return await stays

    assert run(read()).id == job_id


def test_a_read_that_fails_fails_for_all_who_asked_and_for_nobody_after(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = scenes.submitted(system)

    def away(*_: Any) -> Any:
        raise OperationalError("SELECT", {}, Exception("away"))

    async def read() -> tuple[list[Any], Job]:
        reader = JobReader(system.database)
        with monkeypatch.context() as patch:
            patch.setattr(repository, "jobs_by_id", away)
            failed = await asyncio.gather(
                *(reader.job(scenes.TENANT, job_id) for _ in range(3)), return_exceptions=True
            )
        return failed, await reader.job(scenes.TENANT, job_id)

    failed, job = run(read())
    assert [type(error) for error in failed] == [OperationalError] * 3
    assert job.id == job_id
