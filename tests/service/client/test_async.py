"""The client that is awaited does all that the other does, by the same steps."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest

from service.client import AsyncClient, AsyncJob, Client, ClientError, Job, JobFailed
from tests.service.api.door import Door
from tests.service.client.conftest import SOLVED
from tests.service.client.flaky import DROPPED, QUICK, Answer, Asked, answering, busy, problem
from tests.service.client.test_streams import END, FILE, rest, stream, told, whole

T = TypeVar("T")
UPLOAD = Answer(status=201, body=b'{"id": "upl_new"}')


def public(thing: object) -> dict[str, inspect.Signature | None]:
    names = [name for name in dir(type(thing)) if not name.startswith("_")]
    members = {name: getattr(thing, name) for name in names}
    return {name: inspect.signature(member) if callable(member) else None for name, member in members.items()}


def parameters(members: dict[str, inspect.Signature | None]) -> dict[str, list[str]]:
    return {
        name: [] if told is None else [str(one) for one in told.parameters.values()] for name, told in members.items()
    }


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    waiting, awaited = Client("http://127.0.0.1"), AsyncClient("http://127.0.0.1")
    of_waiting, of_awaited = parameters(public(waiting)), parameters(public(awaited))
    of_waiting.pop("run"), of_awaited.pop("run")
    assert of_waiting == of_awaited
    assert len(of_waiting) > 15
    assert parameters(public(Job(client=waiting, id="job_1"))) == parameters(
        public(AsyncJob(client=awaited, id="job_1"))
    )


@pytest.mark.parametrize("name", ["submit", "calibrate", "problem", "jobs", "schema"])
def test_a_method_tells_what_it_does_and_takes(name: str) -> None:
    for method in (getattr(Client("http://x"), name), getattr(AsyncClient("http://x"), name)):
        assert len(method.__doc__) > 40
        assert method.__name__ == name
    assert list(inspect.signature(Client("http://x").job("job_1").state).parameters) == ["wait", "after_version"]


def test_results_are_awaited(run: tuple[Job, list[dict[str, Any]]], tmp_path: Path) -> None:
    done, matrix = run[0], SOLVED.problem.matrix

    async def read(client: AsyncClient) -> None:
        job = await client.job(done.id).wait()
        weights = await job.weights()
        assert np.array_equal(weights, done.weights())
        assert np.array_equal((await job.weights(active_only=True)).as_dense(), weights)
        assert np.allclose(await job.predict(matrix), matrix @ weights)
        events = [event["seq"] async for event in job.events()]
        assert [event["seq"] async for event in job.events(follow=True)] == events
        assert (await job.download("report.html", tmp_path)).stat().st_size > 1000
        assert job.id in [one["id"] async for one in client.jobs(status="succeeded")]

    asyncio.run(with_client(done.client.address, read))


def test_a_calibration_is_asked_for_and_awaited(door: Door) -> None:
    async def calibrate(client: AsyncClient) -> None:
        job = await client.calibrate(SOLVED.problem.matrix, SOLVED.problem.targets, record_budget=10, epochs=20)
        told: list[str] = []
        await job.cancel()
        with pytest.raises(JobFailed, match=f"job {job.id} cancelled"):
            await job.wait(lambda state: told.append(state["status"]))
        again = await job.retry()
        await again.cancel()
        with pytest.raises(ClientError, match="409 result_not_ready"):
            await again.weights()
        assert (told, client.job(job.id)) == (["cancelled"], job)

    asyncio.run(with_client(str(door.http.base_url), calibrate))


async def with_client(url: str, act: Callable[[AsyncClient], Awaitable[T]]) -> T:
    async with AsyncClient(url, patience=QUICK) as client:
        return await act(client)


def awaited(act: Callable[[AsyncClient], Awaitable[T]], *answers: Answer | None) -> tuple[T, list[Asked]]:
    """Give what an act of an awaited client comes to, on a service that answers so, and what was asked."""
    with answering(*answers) as (url, asked):
        return asyncio.run(with_client(url, act)), asked


def test_it_tries_again_what_the_other_does() -> None:
    _, asked = awaited(lambda client: client.submit("prb_1"), DROPPED, busy(), Answer(status=202, body=b'{"id": "j"}'))
    assert len({one.headers["idempotency-key"] for one in asked}) == 1
    large = np.zeros(2**18)
    upload_id, asked = awaited(lambda client: client.upload(large), problem(404, "not_found"), DROPPED, UPLOAD)
    assert (upload_id, len(asked), asked[1].body) == ("upl_new", 3, asked[2].body)


def test_it_never_sends_another_post_twice() -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        awaited(lambda client: client.job("job_1").cancel(), DROPPED, Answer())


def test_its_streams_go_on_where_they_broke(tmp_path: Path) -> None:
    written, _ = awaited(lambda client: client.job("j").download("x", tmp_path), whole(sent=4000), busy(), rest(4000))
    assert written.read_bytes() == FILE

    async def follow(client: AsyncClient) -> list[int]:
        return [event["seq"] async for event in client.job("j").events(follow=True)]

    numbers, _ = awaited(follow, stream(told(1)), DROPPED, stream(told(2) + END))
    assert numbers == [1, 2]


def test_an_event_loop_is_not_held_up_by_an_array_that_is_written() -> None:
    matrix = np.zeros(2**22)
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.005)

    async def act(client: AsyncClient) -> str:
        beating = asyncio.create_task(beat())
        await client.upload(matrix)
        beating.cancel()
        return ""

    awaited(act, Answer(body=b'{"id": "upl_held"}'))
    assert len(beats) > 2
