"""Jobs by their ids, read together: who asks while one question to SQL is on its way shares the next one.

A single client waits no longer than for a read of his own; many at once cost one thread and one statement, so that
polling grows cheaper a request the more of it there is. Every answer is read after it was asked for. Waiting is next
door, in `watching`.
"""

import asyncio
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

from service.api.watching import Watcher
from service.db.session import Database
from service.errors import NotFound
from service.jobs import repository, traces
from service.jobs.models import Event, Job

_Answer = asyncio.Future[Job | None]


class JobReader:
    """Reads jobs and waits for news of them, for all requests of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watcher = Watcher(database)
        self._asked: dict[str, _Answer] = {}
        self._reading: asyncio.Task[None] | None = None

    async def job(self, tenant: str, job_id: str) -> Job:
        """Give the tenant's job as it is now, to be looked at only; NotFound where there is none."""
        answer = self._asked.get(job_id)
        if answer is None:
            answer = self._asked[job_id] = asyncio.get_running_loop().create_future()
            self._start()
        job = await asyncio.shield(answer)  # who leaves does not take it from the others
        if job is None or job.tenant != tenant:
            raise NotFound(f"there is no job '{job_id}'")
        return job

    async def job_once(self, tenant: str, job_id: str, holds: Callable[[Job], bool], seconds: float) -> Job:
        """Give the tenant's job once something holds of it or the time is over."""
        end = time.monotonic() + seconds
        while True:
            job = await self.job(tenant, job_id)
            left = end - time.monotonic()
            if left <= 0 or holds(job):
                return job
            await self.news(job, left)

    async def news(self, job: Job, seconds: float) -> bool:
        """Wait until the job is no more as it is here; False where the time is over first."""
        return await self._watcher.news(job, seconds)

    async def events(self, job: Job, after: int, limit: int) -> list[Event]:
        """Give up to `limit` of the job's events numbered above `after`."""
        return await run_in_threadpool(self._events, job.id, after, limit)

    def _events(self, job_id: str, after: int, limit: int) -> list[Event]:
        with self._database.reading() as session:
            return traces.events_after(session, job_id, after, limit)

    def _start(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_on())

    async def _read_on(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await asyncio.to_thread(self._read, list(asked))
            except Exception as error:  # noqa: BLE001 - it is raised again where the job was asked for
                _refuse(asked, error)
            else:
                for job_id, answer in asked.items():
                    answer.set_result(found.get(job_id))

    def _read(self, job_ids: list[str]) -> dict[str, Job]:
        with self._database.reading() as session:
            return {job.id: job for job in repository.jobs_by_id(session, job_ids)}


def _refuse(asked: dict[str, _Answer], error: Exception) -> None:
    for answer in asked.values():
        answer.set_exception(error)
        answer.exception()  # looked at, should all who asked have left
