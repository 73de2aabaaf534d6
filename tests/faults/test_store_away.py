"""The store goes away or falls silent: nothing accepted is lost, clients are told to come again, jobs wait for it."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from service.jobs.values import Batch
from service.settings import Settings
from service.system import System
from tests.buckets import Bucket
from tests.faults.processes import holder, workers
from tests.faults.test_workers_killed import assert_undisturbed, has_succeeded
from tests.lines import Line
from tests.service.api.door import Door, called_here, problem_body, refused
from tests.service.api.endings import succeeded
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.service.problems.files import NPY, npy
from tests.worker import runs

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
away = pytest.mark.parametrize("away", [Line.cut, Line.silence])
BACK: dict[Callable[[Line], None], Callable[[Line], None]] = {Line.cut: Line.join, Line.silence: Line.speak}


@pytest.fixture
def far(settings: Settings, bucket: Bucket, line: Line) -> Settings:
    """Settings with the bucket at the end of the line."""
    return bucket.settings(settings, line.url, storage_timeout_seconds=1)


@pytest.fixture
def far_system(far: Settings) -> Iterator[System]:
    """A system on them."""
    opened = System.open(far)
    yield opened
    opened.database.dispose()


@pytest.fixture
def door(far: Settings) -> Iterator[Door]:
    """The API on them."""
    with called_here(far) as opened:
        yield opened


def told(system: System, job_id: str) -> str:
    """Give what the engine has printed and the job's events say."""
    return runs.engine_log(system, job_id) + "".join(event.message for event in scenes.events(system, job_id))


@on_sqlite
@away
def test_a_run_outlives_a_store_that_is_away(
    far_system: System, line: Line, bucket: Bucket, away: Callable[[Line], None]
) -> None:
    with workers(far_system, 1) as (worker,):
        job_id = runs.submitted(far_system)
        _, engine = holder(far_system, job_id, [worker])
        with runs.held_in_mid_run(far_system, job_id, engine):
            away(line)
        until(lambda: "no checkpoint after" in told(far_system, job_id))
        assert scenes.job(far_system, job_id).status == "running"
        BACK[away](line)
        until(lambda: has_succeeded(far_system, job_id))
    assert scenes.job(far_system, job_id).attempt == 1
    assert_undisturbed(far_system, job_id)
    assert runs.leftovers(far_system) == []
    assert bucket.unfinished == []


@on_sqlite
def test_a_run_that_is_done_waits_for_the_store_to_take_its_result(far_system: System, line: Line) -> None:
    job_id = runs.submitted(far_system, checkpoint_every=runs.EPOCHS)
    with runs.attempt(far_system, job_id) as attempt:
        until(lambda: scenes.job(far_system, job_id).stage not in {"queued", "awaiting_dispatch", "loading"})
        runs.stand_still(attempt.engine, lambda: True)
        line.cut()
        attempt.engine.resume()
        until(lambda: "waits_for_store" in runs.engine_log(far_system, job_id))
        line.join()
    assert scenes.job(far_system, job_id).status == "succeeded"
    assert_undisturbed(far_system, job_id)


@on_sqlite
def test_a_worker_told_to_end_while_it_waits_for_the_store_gives_the_job_back(far_system: System, line: Line) -> None:
    job_id = runs.submitted(far_system, max_attempts=1)
    line.cut()
    with runs.attempt(far_system, job_id) as attempt:
        until(lambda: "waits_for_store" in runs.engine_log(far_system, job_id))
        attempt.draining.set()
    assert "given_back" in scenes.event_types(far_system, job_id)
    line.join()
    runs.executed(far_system, job_id)
    assert scenes.job(far_system, job_id).status == "succeeded"
    assert runs.leftovers(far_system) == []


@on_sqlite
@away
def test_a_client_is_told_to_come_again(door: Door, line: Line, bucket: Bucket, away: Callable[[Line], None]) -> None:
    problem_id = door.problem()
    assert door.http.get("/readyz").json()["checks"]["storage"]["ok"]
    away(line)
    for reply in (
        door.http.post("/v1/uploads", content=npy([1.0]), headers={"Content-Type": NPY}),
        door.http.post("/v1/problems", json=problem_body(targets=[7.0, 8.0])),
    ):
        refused(reply, 503, "not_ready")
        assert int(reply.headers["Retry-After"]) > 0
        assert reply.json()["retryable"]
    assert not door.http.get("/readyz").json()["checks"]["storage"]["ok"]
    assert door.incoming == []
    door.job(problem_id)
    BACK[away](line)
    upload_id = door.upload(npy([1.0]), NPY)
    assert f"l0/files/uploads/{upload_id}" in bucket.names
    assert door.http.get("/readyz").json()["checks"]["storage"]["ok"]
    assert (door.incoming, bucket.unfinished) == ([], [])


@on_sqlite
def test_a_problem_is_deleted_although_the_store_is_away(door: Door, line: Line) -> None:
    problem_id = door.problem()
    line.cut()
    assert door.http.delete(f"/v1/problems/{problem_id}").status_code == 204
    refused(door.http.get(f"/v1/problems/{problem_id}"), 404, "not_found")


@on_sqlite
def test_a_result_is_503_while_the_store_is_away_and_whole_again_after(door: Door, line: Line) -> None:
    job_id, report = door.job(door.listed_problem())["id"], b"0123456789" * 10**5
    succeeded(door.system, job_id, weights=np.ones(3), batch=Batch(), files={"report.bin": report})
    urls = [f"/v1/jobs/{job_id}/{part}" for part in ("artifacts/report.bin", "weights")]
    line.cut()
    for url in urls:
        refused(door.http.get(url), 503, "not_ready")
    line.join()
    assert door.http.get(urls[0]).content == report
    assert door.http.get(urls[0], headers={"Range": "bytes=999990-"}).content == b"0123456789"
    assert door.http.get(urls[1]).json()["values"] == [1.0, 1.0, 1.0]
    assert door.incoming == []
