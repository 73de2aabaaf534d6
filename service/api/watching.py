"""Waiting for news of a job: one question to SQL for all who wait in this process, a few times a second.

Who waits holds no thread and asks nothing himself; SQL stays the only truth, so that any number of API processes serve
the same jobs. While the database is away nobody is told anything, and the watch goes on.
"""

import asyncio
from dataclasses import dataclass, field

from service.db.session import Database
from service.jobs import repository
from service.jobs.models import Job
from service.logging import log

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiter:
    job_id: str
    moves: tuple[int, int]
    told: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Watcher:
    """Looks at the versions of the jobs that somebody waits for, as long as somebody does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiters: set[_Waiter] = set()
        self._look: asyncio.Task[None] | None = None
        self._database_is_away = False

    async def news(self, job: Job, seconds: float) -> bool:
        """Wait until the job is no more as it is here, or gone; False where the time is over first."""
        waiter = _Waiter(job_id=job.id, moves=job.moves)
        self._waiters.add(waiter)
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._keep_looking())
        try:
            async with asyncio.timeout(seconds):
                await waiter.told
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True

    async def _keep_looking(self) -> None:
        while self._waiters:
            await asyncio.sleep(_LOOK_SECONDS)
            asked = list(self._waiters)
            try:
                moves = await asyncio.to_thread(self._moves, {waiter.job_id for waiter in asked})
            except Exception as error:  # noqa: BLE001 - whatever fails may be well at the next look
                self._note_away(error)
            else:
                self._database_is_away = False
                _tell(asked, moves)

    def _moves(self, job_ids: set[str]) -> dict[str, tuple[int, int]]:
        with self._database.reading() as session:
            return repository.moves_by_id(session, sorted(job_ids))

    def _note_away(self, error: Exception) -> None:
        if not self._database_is_away:
            log.warning("watch_interrupted", error=str(error))
        self._database_is_away = True


def _tell(waiters: list[_Waiter], moves: dict[str, tuple[int, int]]) -> None:
    for waiter in waiters:
        if moves.get(waiter.job_id) != waiter.moves and not waiter.told.done():
            waiter.told.set_result(None)
