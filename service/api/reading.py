"""Jobs by their ids and their events, read `together` with what others ask; waiting is next door, in `watching`."""

import time
from collections.abc import Callable
from typing import NamedTuple

from service.api.together import Together
from service.api.watching import Watcher
from service.db.session import Database
from service.errors import NotFound
from service.jobs import repository, traces
from service.jobs.models import Event, Job


class _Page(NamedTuple):
    job_id: str
    after: int
    limit: int


class JobReader:
    """Reads jobs and waits for news of them, for all requests of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watcher = Watcher(database)
        self._jobs = Together[str, Job](self._read)
        self._pages = Together[_Page, list[Event]](self._events)

    async def job(self, tenant: str, job_id: str) -> Job:
        """Give the tenant's job as it is now, to be looked at only; NotFound where there is none."""
        job = await self._jobs.ask(job_id)
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
        return await self._pages.ask(_Page(job.id, after, limit)) or []

    def _read(self, job_ids: list[str]) -> dict[str, Job]:
        with self._database.reading() as session:
            return {job.id: job for job in repository.jobs_by_id(session, job_ids)}

    def _events(self, pages: list[_Page]) -> dict[_Page, list[Event]]:
        with self._database.reading() as session:
            return {page: traces.events_after(session, *page) for page in pages}
