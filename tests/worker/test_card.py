"""Attempts on a card that is pretended: it goes away, it is taken, it is another one; and on a real one."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from service.gpu import cards_seen
from service.jobs.values import WorkerIdentity
from service.settings import Settings
from service.system import System
from tests.faults.pretending import Cards
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs
from worker import card
from worker.card import CardLost, CardMissing, CardTaken, taken_by_job, taken_by_worker
from worker.devices import CannotStart, check, on_its_device
from worker.engine_process import engines

GPU_WORKER = WorkerIdentity(id="wrk_gpu", host="here", queues=("gpu", "cpu"), device="cuda:0")
GPU = {"worker_queues": "gpu", "worker_device": "cuda:0"}
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    """One pretended card, which this process and its children know: a nursery of before does not."""
    made = Cards(tmp_path)
    made.put_in("cuda:0")
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("tempfile.tempdir", None)
    engines.end()
    yield made
    engines.end()
    monkeypatch.setattr("tempfile.tempdir", None)


def codes(system: System, job_id: str) -> list[str]:
    return [event.data["code"] for event in scenes.events(system, job_id) if event.type == "attempt_failed"]


@on_sqlite
def test_a_card_that_goes_away_under_a_job_costs_one_attempt_and_the_job_goes_on_elsewhere(
    tidy: System, cards: Cards
) -> None:
    job_id = runs.submitted(tidy, device="cuda")
    with (
        pytest.raises(CardLost, match="the card cuda:0 is not there"),
        runs.attempt(tidy, job_id, GPU_WORKER) as first,
        first.held_in_mid_run(),
    ):
        cards.take_out()
        first.engine.kill()
    job = scenes.job(tidy, job_id)
    assert (job.status, job.attempt, codes(tidy, job_id)) == ("running", 1, ["device_lost"])
    cards.put_in("cuda:0")
    with runs.attempt(tidy, job_id, replace(GPU_WORKER, id="wrk_other")):
        pass
    assert (scenes.job(tidy, job_id).status, scenes.job(tidy, job_id).attempt) == ("succeeded", 2)


@on_sqlite
def test_an_engine_that_crashes_on_a_card_that_is_there_costs_its_worker_nothing(tidy: System, cards: Cards) -> None:
    job_id = runs.submitted(tidy, device="cuda", epochs=runs.ENDLESS)
    with runs.attempt(tidy, job_id, GPU_WORKER) as attempt:
        attempt.engine.kill()
    assert codes(tidy, job_id) == ["worker_lost"]


@on_sqlite
def test_a_job_for_the_cpu_does_not_ask_for_the_card(tidy: System, cards: Cards) -> None:
    cards.take_out()
    job_id = runs.submitted(tidy, epochs=5)
    with taken_by_job("cuda:0"), runs.attempt(tidy, job_id, GPU_WORKER):
        pass
    assert scenes.job(tidy, job_id).status == "succeeded"


@on_sqlite
def test_a_job_waits_for_the_card_that_another_engine_has_not_left_yet(tidy: System, cards: Cards) -> None:
    """As the engine of a killed worker does while it is in a long call into the driver."""
    job_id = runs.submitted(tidy, device="cuda", epochs=5)
    with ExitStack() as held:
        held.enter_context(taken_by_job("cuda:0"))
        with runs.attempt(tidy, job_id, GPU_WORKER) as attempt:
            until(lambda: waits_for_a_lock(attempt.engine))
            assert scenes.job(tidy, job_id).stage == "loading"
            held.close()
    assert scenes.job(tidy, job_id).status == "succeeded"


def waits_for_a_lock(process: psutil.Process) -> bool:
    """Say whether the kernel lets a process wait for a lock that another one holds."""
    locks = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
    return any(words[1] == "->" and words[5] == str(process.pid) for words in locks)


def test_a_card_has_one_worker_and_is_free_again_after_it(cards: Cards) -> None:
    with taken_by_worker("cuda:0", 0.0):
        with (
            pytest.raises(CardTaken, match="another worker of this machine has the card cuda"),
            taken_by_worker("cuda", 0.1),
        ):
            pass
        with taken_by_worker("cuda:1", 0.0):
            pass
    with taken_by_worker("cuda:0", 0.0):
        pass


def test_a_worker_waits_for_one_that_is_just_ending(cards: Cards) -> None:
    program = (
        "import sys; from worker.card import taken_by_worker\n"
        "with taken_by_worker('cuda:0', 0):\n print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(CardTaken), taken_by_worker("cuda:0", 0.1):
            pass
        other.kill()
        with taken_by_worker("cuda:0", 60.0):
            pass


def test_two_workers_whose_cards_have_one_name_in_two_processes_do_not_collide(
    cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with taken_by_worker("cuda:0", 0.0):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        with taken_by_worker("cuda:0", 0.0):
            pass


def test_a_worker_of_both_queues_whose_card_is_missing_serves_the_cpu(cards: Cards) -> None:
    cards.take_out()
    with on_its_device(Settings(worker_queues="gpu,cpu", worker_device="cuda:0")) as usable:
        assert (usable.worker_queues, usable.worker_device) == ("cpu", "cpu")
        assert (usable.environment()["L0_WORKER_QUEUES"], usable.environment()["L0_WORKER_DEVICE"]) == ("cpu", "cpu")


def test_a_worker_of_the_gpu_alone_does_not_start_without_its_card(cards: Cards) -> None:
    asked = Settings(worker_queues="gpu", worker_device="cuda:1")
    with pytest.raises(CardMissing, match="refusing to start: the card cuda:1 is not there"), on_its_device(asked):
        pass


def test_a_card_that_does_not_answer_is_missing(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "_PROBE_SECONDS", 0.0)
    assert card.why_missing("cuda:0", Settings().environment()) == "the card cuda:0 does not answer"


@pytest.mark.parametrize(
    "sound",
    [
        {},
        {"worker_concurrency": 4},
        GPU,
        GPU | {"worker_device": "cuda"},
        GPU | {"worker_queues": "gpu,cpu", "worker_device": "cuda:13"},
    ],
)
def test_what_goes_together_is_taken(sound: dict[str, str]) -> None:
    check(Settings(**sound))  # type: ignore[arg-type]  # numbers as texts, as in the environment


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"worker_queues": "cpu,gup"}, "there is no queue 'gup'; L0_WORKER_QUEUES takes cpu, gpu or both"),
        ({"worker_queues": " , "}, "no queue is named"),
        ({"worker_device": "mps"}, "L0_WORKER_DEVICE is 'mps'; it must be cpu, cuda or a card such as cuda:0"),
        ({"worker_device": "cuda:x"}, "L0_WORKER_DEVICE is 'cuda:x'"),
        ({"worker_queues": "gpu"}, "the queue gpu needs a card"),
        ({"worker_device": "cuda:0"}, "a card serves the queue gpu"),
        (GPU | {"worker_concurrency": "2"}, "a card runs one job at a time; start a worker for each card"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_sentence(wrong: dict[str, str], sentence: str) -> None:
    with pytest.raises(CannotStart, match="refusing to start: ") as refused:
        check(Settings(**wrong))  # type: ignore[arg-type]  # numbers as texts, as in the environment
    assert sentence in str(refused.value)


def test_the_process_ends_with_the_sentence_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_WORKER_QUEUES", "gpu")
    done = subprocess.run([sys.executable, "-m", "worker"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "refusing to start: a worker of the queues gpu on the device cpu" in done.stderr
    assert "Traceback" not in done.stderr


_FREE = "import torch; print(torch.cuda.mem_get_info()[0])"


def free_bytes() -> int:
    """Give the card's free memory, as a process of its own sees it."""
    return int(subprocess.run([sys.executable, "-c", _FREE], capture_output=True, text=True, check=True).stdout)


@pytest.mark.gpu
@on_sqlite
def test_two_jobs_on_a_card_one_after_the_other_each_see_its_whole_memory(tidy: System) -> None:
    if not cards_seen():
        pytest.skip("no CUDA device")
    before = free_bytes()
    for _ in range(2):
        job_id = runs.submitted(tidy, device="cuda", epochs=50)
        with runs.attempt(tidy, job_id, GPU_WORKER):
            pass
        assert scenes.job(tidy, job_id).status == "succeeded"
        until(lambda: free_bytes() >= before)
