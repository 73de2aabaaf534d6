"""The client that waits: what a notebook or a script uses."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, ParamSpec, Self, TypeVar, overload

import httpx
import numpy as np
from numpy.typing import NDArray

from service.client import of_job, of_service, registering, uploads
from service.client.calls import Call, Drain, Effect, JsonObject, Local, Once, Pause, Steps
from service.client.following import Following
from service.client.methods import Rows, Waiting, WaitingList, WaitingOfJob, dressed
from service.client.patience import Outcome, Patience, Trying, attempts
from service.client.reading import Reading
from service.client.results import ActiveWeights
from service.client.waiting import wait
from service.client.wire import as_call, identified, sent

P = ParamSpec("P")
T = TypeVar("T")


class Submitting(Generic[P]):
    """A method of a client that gives the job it has submitted."""

    def __init__(self, make: Callable[P, Steps[str]]) -> None:
        self._make = make

    def __get__(self, client: "Client", owner: type) -> Callable[P, "Job"]:
        def method(*args: P.args, **kwargs: P.kwargs) -> Job:
            return Job(client=client, id=client.run(self._make(*args, **kwargs)))

        return dressed(method, self._make)


class Client:
    """A connection to one service; `with` closes it.

    `api_key` is for a service that asks for keys; by default that of the environment, L0_API_KEY. `timeout` is in
    seconds, for connecting and for every pause of a reply. What is tried again, and when, is `patience`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        patience: Patience | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = identified(api_key)
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout, transport=transport)
        self._patience = patience or Patience()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where the service is."""
        return str(self._http.base_url)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    request = Waiting(of_service.request)
    upload = Waiting(uploads.upload)
    problem = Waiting(of_service.problem)
    check = Waiting(of_service.check)
    register = Waiting(registering.register)
    register_kind = Waiting(registering.register_kind)
    submit = Submitting(of_service.submit)
    solve = Submitting(of_service.solve)
    sample = Submitting(of_service.sample)
    prune = Submitting(of_service.prune)
    calibrate = Submitting(of_service.calibrate)
    calibrate_problem = Submitting(of_service.calibrate_problem)
    calibrate_package = Submitting(of_service.calibrate_package)
    jobs = WaitingList(of_service.jobs)
    problems = WaitingList(of_service.problems)
    schema = Waiting(of_service.schema)
    capabilities = Waiting(of_service.capabilities)
    workers = Waiting(of_service.workers)
    compare = Waiting(of_service.compare)

    def job(self, job_id: str) -> "Job":
        """Give a job by its id; nothing is asked yet."""
        return Job(client=self, id=job_id)

    def run(self, steps: Steps[T]) -> T:
        """Do steps one after the other; gives what they come to."""
        answer: Any = None
        with closing(steps):
            while True:
                try:
                    effect = steps.send(answer)
                except StopIteration as end:
                    result: T = end.value
                    return result
                answer = self._do(effect)

    def _do(self, effect: Effect) -> Any:
        match effect:
            case Call():
                return self.run(attempts(effect, self._patience))
            case Once(call=call):
                return self._send(call)
            case Pause(seconds=seconds):
                return time.sleep(seconds)
            case Local(run=run):
                return run()
            case Drain(reading=reading):
                return list(self._read(reading))

    def _send(self, call: Call[Any]) -> Outcome:
        file = None if call.file is None else call.file.chunks()
        try:
            return self._http.send(sent(self._http, call, file))
        except httpx.TransportError as error:
            return error

    def each(self, rows: Rows) -> Iterator[JsonObject]:
        """Give rows as they come."""
        if isinstance(rows, Following):
            yield from self._read(rows)
            return
        call: Call[JsonObject] | None = rows.first()
        while call is not None:
            page = self.run(attempts(call, self._patience))
            yield from page["data"]
            call = rows.after(page)

    def _read(self, reading: Reading[T]) -> Iterator[T]:
        """Give what comes of a stream, taken up again where it broke."""
        trying = Trying(self._patience)
        while not reading.is_over:
            call = as_call(reading.place())
            outcome: Outcome | None = None
            try:
                with closing(self._http.send(sent(self._http, call), stream=True)) as reply:
                    if reply.is_error:
                        reply.read()
                        outcome = reply
                    else:
                        reading.begin(reply)
                        for chunk in reply.iter_bytes():
                            trying.restart()
                            yield from reading.feed(chunk)
                        reading.end()
            except httpx.TransportError as error:
                outcome = error
            if not reading.is_over:
                time.sleep(trying.pause_or_raise(call, outcome))


@dataclass(frozen=True, kw_only=True)
class Job:
    """A submitted job."""

    client: Client
    id: str

    state = WaitingOfJob(of_job.state)
    cancel = WaitingOfJob(of_job.cancel)
    delete = WaitingOfJob(of_job.delete)
    log = WaitingOfJob(of_job.log)
    weights_csv = WaitingOfJob(of_job.weights_csv)
    table = WaitingOfJob(of_job.table)
    selection = WaitingOfJob(of_job.selection)
    answer = WaitingOfJob(of_job.answer)
    predict = WaitingOfJob(of_job.predict)
    predictions = WaitingOfJob(of_job.predictions)
    targets = WaitingOfJob(of_job.targets)
    metrics = WaitingOfJob(of_job.metrics)
    plot_loss = WaitingOfJob(of_job.plot_loss)
    findings = WaitingOfJob(of_job.findings)
    checkpoints = WaitingOfJob(of_job.checkpoints)
    artifacts = WaitingOfJob(of_job.artifacts)
    artifact = WaitingOfJob(of_job.artifact)
    download = WaitingOfJob(of_job.download)

    def wait(
        self,
        on_change: Callable[[JsonObject], None] | None = None,
        *,
        progress: bool = False,
        timeout_seconds: float | None = None,
    ) -> Self:
        """Wait for the end, with a progress bar or told of every change; gives the job itself.

        Raises JobFailed unless it succeeds, and JobNotEnded once the time is over; the job then goes on.
        """
        self.client.run(wait(self.id, on_change, progress=progress, timeout_seconds=timeout_seconds))
        return self

    def retry(self, *, idempotency_key: str | None = None) -> "Job":
        """Submit the request of this job, once it has ended, again; gives the new job."""
        return Job(client=self.client, id=self.client.run(of_job.retry(self.id, idempotency_key)))

    def events(self, after: int = 0, *, follow: bool = False) -> Iterator[JsonObject]:
        """Give what happened, numbered above `after`; with `follow` as it happens, until the job has ended."""
        return self.client.each(of_job.events(self.id, after, follow=follow))

    @overload
    def weights(self, *, active_only: Literal[False] = False, checkpoint: str | None = None) -> NDArray[np.float64]: ...

    @overload
    def weights(self, *, active_only: Literal[True], checkpoint: str | None = None) -> ActiveWeights: ...

    def weights(
        self, *, active_only: bool = False, checkpoint: str | None = None
    ) -> NDArray[np.float64] | ActiveWeights:
        """Give the calibrated weights: of all units, or the kept units alone.

        With `checkpoint` ("latest", or its id), those in a checkpoint of any job, as the selection stood there:
        without the exact record budget, bounds and the refit.
        """
        if active_only:
            return self.client.run(of_job.active_weights(self.id, checkpoint=checkpoint))
        return self.client.run(of_job.dense_weights(self.id, checkpoint=checkpoint))
