"""Many clients at once, at two real API processes: one key makes one job, and no job is without its problem."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from l0core.calibration.problem import CalibrationProblem
from service.jobs.models import IdempotencyKey, Job
from service.keeping import orphans
from service.problems.models import StoredProblem
from service.settings import Settings
from tests.problems import solved
from tests.service.api.door import Door, job_body, open_door
from tests.service.jobs import scenes
from tests.service.keeping import shelves

REQUESTS = 50
ROUNDS = 12


@pytest.fixture
def doors(settings: Settings) -> Iterator[tuple[Door, Door]]:
    """Two API processes on one database."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(open_door(settings)) for _ in range(2))
        yield one, other


def at_once(doors: tuple[Door, Door], bodies: list[dict[str, Any]], key: str) -> list[httpx.Response]:
    """Post every body with one key, all at once, in turn to the two doors."""
    start = threading.Barrier(len(bodies))

    def post(number: int) -> httpx.Response:
        url = str(doors[number % 2].http.base_url.join("/v1/jobs"))
        start.wait()
        return httpx.post(url, json=bodies[number], headers={"Idempotency-Key": key}, timeout=60)

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(post, range(len(bodies))))


def test_fifty_requests_with_one_key_make_one_job_and_another_request_with_it_none(doors: tuple[Door, Door]) -> None:
    problem_id = doors[0].listed_problem()
    replies = at_once(doors, [job_body(problem_id)] * REQUESTS, "once")
    assert Counter(reply.status_code for reply in replies) == {202: REQUESTS}
    (job_id,) = {reply.json()["id"] for reply in replies}
    assert [job["id"] for job in doors[1].http.get("/v1/jobs").json()["data"]] == [job_id]
    assert shelves.count(doors[0].system, IdempotencyKey) == 1
    assert_one_is_taken_and_the_other_refused(doors, problem_id)


def assert_one_is_taken_and_the_other_refused(doors: tuple[Door, Door], problem_id: str) -> None:
    """Send two requests that share a key, each many times: whichever is first is the job, all others are refused."""
    bodies = [job_body(problem_id, seed=number // 2 % 2) for number in range(REQUESTS)]
    replies = at_once(doors, bodies, "twice")
    taken = [reply for reply in replies if reply.status_code == 202]
    refused = [reply.json()["code"] for reply in replies if reply.status_code == 422]
    assert len(taken) + len(refused) == REQUESTS
    assert set(refused) == {"idempotency_key_reused"}
    assert len({(reply.json()["id"], reply.json()["seed"]) for reply in taken}) == 1
    assert shelves.count(doors[0].system, Job) == 2


def test_deleting_sweeping_and_submitting_at_once_leaves_no_job_without_its_problem(doors: tuple[Door, Door]) -> None:
    system = doors[0].system
    known = scenes.keep_problem(system, solved(n_targets=2, n_units=5).problem)
    accepted = [job_id for number in range(ROUNDS) for job_id in _race(doors, _stored(doors[0], number))]
    shelves.age_everything(system)
    orphans.remove(system, shelves.never)
    with system.database.reading() as session:
        keys = list(session.scalars(select(StoredProblem.storage_key).join(Job, Job.problem_id == StoredProblem.id)))
        all_keys = set(session.scalars(select(StoredProblem.storage_key)))
    assert len(accepted) == len(keys) == shelves.count(system, Job)
    for key in keys:
        with system.store.local(key) as path:
            CalibrationProblem.load(path)
    assert set(shelves.keys(system)) == all_keys
    assert f"problems/{known}" in all_keys


def _stored(door: Door, number: int) -> str:
    """Store a problem of its own with real bytes, as old as an orphan; gives its id."""
    problem = solved(n_targets=2, n_units=5, seed=100 + number).problem
    problem_id = scenes.keep_problem(door.system, problem, tenant="local")
    shelves.age(door.system.settings.storage / f"problems/{problem_id}", 1000)
    return problem_id


def _race(doors: tuple[Door, Door], problem_id: str) -> list[str]:
    """Submit twice, delete twice and sweep, all at once; gives the ids of the jobs that were accepted."""
    start = threading.Barrier(5)

    def submit(door: Door) -> list[str]:
        start.wait()
        reply = httpx.post(str(door.http.base_url.join("/v1/jobs")), json=job_body(problem_id), timeout=60)
        assert reply.status_code in (202, 404), reply.text
        return [reply.json()["id"]] if reply.status_code == 202 else []

    def delete(door: Door) -> list[str]:
        start.wait()
        reply = httpx.delete(str(door.http.base_url.join(f"/v1/problems/{problem_id}")), timeout=60)
        assert reply.status_code in (204, 404, 409), reply.text
        return []

    def sweep(door: Door) -> list[str]:
        start.wait()
        orphans.remove(door.system, shelves.never)
        return []

    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(do, door) for do in (submit, delete) for door in doors] + [pool.submit(sweep, doors[0])]
        return [job_id for future in waiting for job_id in future.result()]
