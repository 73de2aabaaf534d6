"""The client whose acts are awaited: what a program with an event loop uses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, ParamSpec, Self, TypeVar, overload

import httpx
import numpy as np
from numpy.typing import NDArray

from service.client import of_job, of_service, registering, uploads
from service.client.calls import Call, Drain, Effect, JsonObject, Local, Once, Pause, Steps
from service.client.following import Following
from service.client.methods import Awaited, AwaitedList, AwaitedOfJob, Rows, dressed
from service.client.patience import Outcome, Patience, Trying, attempts
from service.client.reading import Reading
from service.client.results import ActiveWeights
from service.client.waiting import wait
from service.client.wire import as_call, identified, sent

P = ParamSpec("P")
T = TypeVar("T")


class Submitted(Generic[P]):
    """A method of a client that gives the job it has submitted, and is awaited."""

    def __init__(self, make: Callable[P, Steps[str]]) -> None:
        self._make = make

    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Coroutine[Any, Any, "AsyncJob"]]:
        async def method(*args: P.args, **kwargs: P.kwargs) -> AsyncJob:
            return AsyncJob(client=client, id=await client.run(self._make(*args, **kwargs)))

        return dressed(method, self._make)


class AsyncClient:
    """A connection to one service; `async with` closes it. Its arguments are those of `Client`."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        patience: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = identified(api_key)
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout, transport=transport)
        self._patience = patience or Patience()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def address(self) -> str:
        """Where the service is."""
        return str(self._http.base_url)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    request = Awaited(of_service.request)
    upload = Awaited(uploads.upload)
    problem = Awaited(of_service.problem)
    check = Awaited(of_service.check)
    register = Awaited(registering.register)
    register_kind = Awaited(registering.register_kind)
    submit = Submitted(of_service.submit)
    solve = Submitted(of_service.solve)
    sample = Submitted(of_service.sample)
    prune = Submitted(of_service.prune)
    calibrate = Submitted(of_service.calibrate)
    calibrate_problem = Submitted(of_service.calibrate_problem)
    calibrate_package = Submitted(of_service.calibrate_package)
    jobs = AwaitedList(of_service.jobs)
    problems = AwaitedList(of_service.problems)
    schema = Awaited(of_service.schema)
    capabilities = Awaited(of_service.capabilities)
    workers = Awaited(of_service.workers)
    compare = Awaited(of_service.compare)

    def job(self, job_id: str) -> "AsyncJob":
        """Give a job by its id; nothing is asked yet."""
        return AsyncJob(client=self, id=job_id)

    async def run(self, steps: Steps[T]) -> T:
        """Do steps one after the other; gives what they come to."""
        answer: Any = None
        with closing(steps):
            while True:
                try:
                    effect = steps.send(answer)
                except StopIteration as end:
                    result: T = end.value
                    return result
                answer = await self._do(effect)

    async def _do(self, effect: Effect) -> Any:
        match effect:
            case Call():
                return await self.run(attempts(effect, self._patience))
            case Once(call=call):
                return await self._send(call)
            case Pause(seconds=seconds):
                return await asyncio.sleep(seconds)
            case Local(run=run):
                return await asyncio.to_thread(run)
            case Drain(reading=reading):
                return [item async for item in self._read(reading)]

    async def _send(self, call: Call[Any]) -> Outcome:
        file = None if call.file is None else call.file.chunks_awaited()
        try:
            return await self._http.send(sent(self._http, call, file))
        except httpx.TransportError as error:
            return error

    async def each(self, rows: Rows) -> AsyncIterator[JsonObject]:
        """Give rows as they come."""
        if isinstance(rows, Following):
            async for event in self._read(rows):
                yield event
            return
        call: Call[JsonObject] | None = rows.first()
        while call is not None:
            page = await self.run(attempts(call, self._patience))
            for row in page["data"]:
                yield row
            call = rows.after(page)

    async def _read(self, reading: Reading[T]) -> AsyncIterator[T]:
        """Give what comes of a stream, taken up again where it broke."""
        trying = Trying(self._patience)
        while not reading.is_over:
            call = as_call(reading.place())
            outcome: Outcome | None = None
            try:
                async with aclosing(await self._http.send(sent(self._http, call), stream=True)) as reply:
                    if reply.is_error:
                        await reply.aread()
                        outcome = reply
                    else:
                        reading.begin(reply)
                        async for chunk in reply.aiter_bytes():
                            trying.restart()
                            for item in reading.feed(chunk):
                                yield item
                        reading.end()
            except httpx.TransportError as error:
                outcome = error
            if not reading.is_over:
                await asyncio.sleep(trying.pause_or_raise(call, outcome))


@dataclass(frozen=True, kw_only=True)
class AsyncJob:
    """A submitted job."""

    client: AsyncClient
    id: str

    state = AwaitedOfJob(of_job.state)
    cancel = AwaitedOfJob(of_job.cancel)
    delete = AwaitedOfJob(of_job.delete)
    log = AwaitedOfJob(of_job.log)
    weights_csv = AwaitedOfJob(of_job.weights_csv)
    table = AwaitedOfJob(of_job.table)
    selection = AwaitedOfJob(of_job.selection)
    answer = AwaitedOfJob(of_job.answer)
    predict = AwaitedOfJob(of_job.predict)
    predictions = AwaitedOfJob(of_job.predictions)
    targets = AwaitedOfJob(of_job.targets)
    metrics = AwaitedOfJob(of_job.metrics)
    plot_loss = AwaitedOfJob(of_job.plot_loss)
    findings = AwaitedOfJob(of_job.findings)
    checkpoints = AwaitedOfJob(of_job.checkpoints)
    artifacts = AwaitedOfJob(of_job.artifacts)
    artifact = AwaitedOfJob(of_job.artifact)
    download = AwaitedOfJob(of_job.download)

    async def wait(
        self,
        on_change: Callable[[JsonObject], None] | None = None,
        *,
        progress: bool = False,
        timeout_seconds: float | None = None,
    ) -> Self:
        """Wait for the end, with a progress bar or told of every change; gives the job itself.

        Raises JobFailed unless it succeeds, and JobNotEnded once the time is over; the job then goes on.
        """
        await self.client.run(wait(self.id, on_change, progress=progress, timeout_seconds=timeout_seconds))
        return self

    async def retry(self, *, idempotency_key: str | None = None) -> "AsyncJob":
        """Submit the request of this job, once it has ended, again; gives the new job."""
        return AsyncJob(client=self.client, id=await self.client.run(of_job.retry(self.id, idempotency_key)))

    def events(self, after: int = 0, *, follow: bool = False) -> AsyncIterator[JsonObject]:
        """Give what happened, numbered above `after`; with `follow` as it happens, until the job has ended."""
        return self.client.each(of_job.events(self.id, after, follow=follow))

    @overload
    async def weights(
        self, *, active_only: Literal[False] = False, checkpoint: str | None = None
    ) -> NDArray[np.float64]: ...

    @overload
    async def weights(self, *, active_only: Literal[True], checkpoint: str | None = None) -> ActiveWeights: ...

    async def weights(
        self, *, active_only: bool = False, checkpoint: str | None = None
    ) -> NDArray[np.float64] | ActiveWeights:
        """Give the calibrated weights: of all units, or the kept units alone.

        With `checkpoint` ("latest", or its id), those in a checkpoint of any job, as the selection stood there:
        without the exact record budget, bounds and the refit.
        """
        if active_only:
            return await self.client.run(of_job.active_weights(self.id, checkpoint=checkpoint))
        return await self.client.run(of_job.dense_weights(self.id, checkpoint=checkpoint))
