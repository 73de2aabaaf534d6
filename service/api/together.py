"""Questions to SQL asked together: who asks while one read is on its way, or just over, shares the next one.

A single client waits no longer than for a read of his own; many at once cost one thread and one session, so that
polling grows cheaper a request the more of it there is. Every answer is read after it was asked for.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

_PAUSE_SECONDS = 0.01  # after a read, for more questions to come in

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class Together(Generic[Question, Answer]):
    """Hands what is asked at about the same time to one call of `read`, in a thread."""

    def __init__(self, read: Callable[[list[Question]], Mapping[Question, Answer]]) -> None:
        self._read = read
        self._asked: dict[Question, asyncio.Future[Answer | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer | None:
        """Give the answer as it is now; None where the read gave none. Raises what the read raised."""
        answer = self._asked.get(question)
        if answer is None:
            answer = self._asked[question] = asyncio.get_running_loop().create_future()
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_on())
        return await asyncio.shield(answer)  # who leaves does not take it from the others

    async def _read_on(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await asyncio.to_thread(self._read, list(asked))
            except Exception as error:  # noqa: BLE001 - it is raised again where it was asked
                _refuse(asked, error)
            else:
                for question, answer in asked.items():
                    answer.set_result(found.get(question))
            await asyncio.sleep(_PAUSE_SECONDS)


def _refuse(asked: Mapping[Question, "asyncio.Future[Answer | None]"], error: Exception) -> None:
    for answer in asked.values():
        answer.set_exception(error)
        answer.exception()  # looked at, should all who asked have left
