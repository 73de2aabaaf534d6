"""Taking a job: the queue of its device, and the same job for the same key."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import func, select, update

from service.db.base import database_now
from service.errors import Unprocessable
from service.jobs import submission, workers
from service.jobs.models import IdempotencyKey, Job
from service.jobs.values import JobRequest, WorkerIdentity
from service.system import System
from tests.service.jobs import scenes

THREADS = 8
DAY_SECONDS = 24 * 3600
GPU_WORKER = WorkerIdentity(id="wrk_gpu", host="there", queues=("gpu",), device="cuda:0")


@pytest.fixture
def asked(system: System) -> JobRequest:
    return scenes.request(scenes.keep_problem(system), tags={"a": "b"})


def submit(system: System, asked: JobRequest, key: str | None = "key", tenant: str = scenes.TENANT) -> str:
    return submission.submit(system, system.dispatcher, tenant, asked, key).id


def age_key(system: System, seconds: float) -> None:
    scenes.write(
        system, lambda session: session.execute(update(IdempotencyKey).values(created_at=database_now() - seconds))
    )


def job_count(system: System) -> int:
    with system.database.reading() as session:
        return session.scalars(select(func.count()).select_from(Job)).one()


def test_without_a_key_each_request_makes_a_job(system: System, asked: JobRequest) -> None:
    assert submit(system, asked, None) != submit(system, asked, None)


def test_the_same_request_with_the_same_key_gives_the_same_job(system: System, asked: JobRequest) -> None:
    first = submit(system, asked)
    assert submit(system, asked) == first
    assert (job_count(system), scenes.sent(system)) == (1, [first])


def test_another_request_with_the_same_key_is_refused(system: System, asked: JobRequest) -> None:
    submit(system, asked)
    other = scenes.request(asked.problem_id, seed=2)
    with pytest.raises(Unprocessable, match="key") as refused:
        submit(system, other)
    assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")
    assert job_count(system) == 1


def test_the_same_request_for_another_device_is_another_request(system: System, asked: JobRequest) -> None:
    submit(system, asked)
    with pytest.raises(Unprocessable):
        submit(system, scenes.request(asked.problem_id, tags=asked.tags, device="cuda"))


def test_a_key_is_the_tenant_s_own(system: System, asked: JobRequest) -> None:
    first = submit(system, asked)
    other = scenes.request(scenes.keep_problem(system, tenant="tenant-b"), seed=9)
    assert submit(system, other, tenant="tenant-b") != first


def test_a_key_is_kept_for_a_day(system: System, asked: JobRequest) -> None:
    first = submit(system, asked)
    age_key(system, DAY_SECONDS - 60)
    assert submit(system, asked) == first


def test_a_key_is_free_again_after_a_day(system: System, asked: JobRequest) -> None:
    first = submit(system, asked)
    age_key(system, DAY_SECONDS + 60)
    second = submit(system, scenes.request(asked.problem_id, seed=2))
    assert second != first
    assert submit(system, scenes.request(asked.problem_id, seed=2)) == second


def test_a_key_gives_its_job_whatever_became_of_it(system: System, asked: JobRequest) -> None:
    first = submit(system, asked)
    scenes.cancel(system, first)
    assert submit(system, asked) == first


def test_of_many_with_one_key_at_once_all_get_one_job(system: System, asked: JobRequest) -> None:
    start = Barrier(THREADS)

    def ask(_: int) -> str:
        start.wait()
        return submit(system, asked)

    with ThreadPoolExecutor(THREADS) as pool:
        ids = set(pool.map(ask, range(THREADS)))
    assert (len(ids), job_count(system)) == (1, 1)
    assert scenes.sent(system) == list(ids)


def test_a_key_of_a_request_that_failed_is_free(system: System, asked: JobRequest) -> None:
    with pytest.raises(Exception, match="no problem"):
        submit(system, scenes.request("prb_nobody"))
    assert submit(system, asked)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_device_that_is_named_is_taken(system: System, device: str) -> None:
    assert submission.resolve_device(system, device) == device


def test_auto_is_the_cpu_where_no_gpu_worker_was_seen(system: System) -> None:
    scenes.write(system, lambda session: workers.see_worker(session, scenes.WORKER))
    assert submission.resolve_device(system, "auto") == "cpu"


def test_auto_is_cuda_where_a_gpu_worker_was_seen(system: System) -> None:
    scenes.write(system, lambda session: workers.see_worker(session, GPU_WORKER))
    assert submission.resolve_device(system, "auto") == "cuda"


def test_a_job_for_a_gpu_says_that_there_is_none(system: System, asked: JobRequest) -> None:
    job = scenes.job(system, submit(system, scenes.request(asked.problem_id, device="cuda")))
    assert (job.status, job.stage) == ("pending", "no_gpu_worker")


def test_a_job_for_a_gpu_is_queued_where_there_is_one(system: System, asked: JobRequest) -> None:
    scenes.write(system, lambda session: workers.see_worker(session, GPU_WORKER))
    job_id = submit(system, scenes.request(asked.problem_id, device="cuda"))
    assert scenes.job(system, job_id).stage == "queued"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_nul_in_a_text_is_refused_as_input(system: System, asked: JobRequest) -> None:
    with pytest.raises(Unprocessable):
        submit(system, scenes.request(asked.problem_id, tags={"a": "\0"}), None)
