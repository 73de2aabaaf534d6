"""`l0 up` as a process: ready when it says so, keeps everything alive, leaves nothing behind however it ends."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from service.client import Client, Job
from service.gpu import shared_out
from tests.faults.pretending import Cards, with_card
from tests.service.jobs.waiting import until
from tests.services import MARK, marked_processes, new_mark
from tests.worker.runs import PROBLEM
from worker.forks import NAME

QUICK = {"L0_LEASE_SECONDS": "4", "L0_RENEW_SECONDS": "1", "L0_REAP_SECONDS": "1", "L0_CHECKPOINT_SECONDS": "0.2"}
PARTS = {
    "broker": {"valkey-server", "redis-server"},
    "api": {"service.api.serve"},
    "worker": {"worker"},
    "engine": {NAME},
}
_PATIENCE_SECONDS = 30.0


class Up:
    """One `l0 up` and everything it has started."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.mark, self._folder = new_mark(), folder.resolve()
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "up", "--data", str(folder), *arguments],
            env={**os.environ, **QUICK, MARK: self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def address(self) -> str:
        """Wait for the line that says where it answers."""
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def refusal(self) -> str:
        """Wait for its end; gives what it complained of."""
        said, complained = self.popen.communicate()
        assert (self.popen.returncode, said) == (1, "")
        return " ".join(complained.split())

    def left_behind(self) -> list[str]:
        """Wait for its end; gives what still runs after a while."""
        self.popen.communicate()
        try:
            until(lambda: not self.family(), _PATIENCE_SECONDS)
        except AssertionError:
            return [process.name() for process in self.family()]
        return []

    def family(self) -> list[psutil.Process]:
        """Give every process it has started: marked, or (the broker hides its environment) at home in its folder."""
        brokers = [process for process in psutil.process_iter() if _home(process) == self._folder / "broker"]
        return [*marked_processes(self.mark), *brokers]

    def part(self, name: str) -> psutil.Process:
        """Give the process of one part."""
        return until(lambda: next((process for process in self.family() if _is(process, PARTS[name])), None))


def _home(process: psutil.Process) -> Path | None:
    try:
        return Path(process.cwd()) if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _is(process: psutil.Process, words: set[str]) -> bool:
    try:
        return process.name() in words or bool(words & set(process.cmdline()))
    except psutil.Error:
        return False


@contextmanager
def up(folder: Path, *arguments: str) -> Iterator[Up]:
    """Start `l0 up`; whatever still runs of it at the end is killed."""
    started = Up("--port", "0", *arguments, folder=folder)
    try:
        yield started
    finally:
        if started.popen.poll() is None:
            started.popen.kill()
        started.left_behind()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def submit(client: Client, *, epochs: int) -> Job:
    problem = client.problem(PROBLEM.matrix, PROBLEM.targets)
    return client.submit(problem["id"], epochs=epochs)


def test_it_keeps_its_parts_alive_lets_nobody_in_beside_it_and_ends_on_sigterm(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    with up(folder) as service:
        url = service.address()
        assert is_ready(url)

        port = url.rpartition(":")[2]
        sentence = f"another `l0 up` runs on {folder}; end it, or use another --data"
        assert sentence in Up("--port", "0", folder=folder).refusal()
        in_use = Up("--port", port, folder=tmp_path / "other")
        assert f"cannot listen on 127.0.0.1:{port}: Address already in use; try --port 0" in in_use.refusal()
        assert in_use.left_behind() == []
        assert is_ready(url)

        before = {name: service.part(name) for name in ("broker", "api", "worker")}
        for process in before.values():
            process.kill()
        until(lambda: all(service.part(name) != before[name] for name in before))
        until(lambda: is_ready(url))
        with Client(url) as client:
            assert submit(client, epochs=5).wait().state()["status"] == "succeeded"

        service.popen.terminate()
        assert service.left_behind() == []
        assert service.popen.returncode == 0
        assert not (folder / "broker.sock").exists()


def test_ctrl_c_ends_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with up(tmp_path / "data") as service:
        assert service.address().startswith("http://127.0.0.1:")
        service.popen.send_signal(signal.SIGINT)
        assert service.left_behind() == []
        assert service.popen.returncode == 0


def test_being_told_to_end_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    with up(tmp_path / "data") as service:
        until((tmp_path / "data" / "l0.db").exists)
        service.popen.terminate()
        assert service.left_behind() == []
        assert service.popen.returncode == 0


def test_killing_it_in_mid_job_leaves_no_process_behind(tmp_path: Path) -> None:
    with up(tmp_path / "data") as service, Client(service.address()) as client:
        submit(client, epochs=10_000_000)
        service.part("engine")
        service.popen.kill()
        assert service.left_behind() == []


def test_an_address_of_the_network_is_refused_with_a_sentence(tmp_path: Path) -> None:
    refused = Up("--host", "0.0.0.0", folder=tmp_path / "data").refusal()
    assert "refusing to listen on 0.0.0.0" in refused
    assert not (tmp_path / "data").exists()


def test_a_port_that_cannot_be_is_refused_with_a_sentence(tmp_path: Path) -> None:
    refused = Up("--port", "70000", folder=tmp_path / "data")
    _, complained = refused.popen.communicate()
    assert refused.popen.returncode != 0
    assert "Traceback" not in complained


def test_no_temporary_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary, folder = tmp_path / "t", tmp_path / (100 * "a")
    temporary.mkdir()
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another `l0 up` runs" in Up("--port", "0", folder=folder).refusal()
    assert list(temporary.iterdir()) == []


def test_of_two_workers_on_a_machine_with_one_card_one_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = Cards(tmp_path)
    cards.put_in("cuda:0")
    for name, value in with_card(cards, queues="gpu,cpu").items():
        monkeypatch.setenv(name, value)
    with up(tmp_path / "data", "--workers", "2") as service:
        url = service.address()
        until(lambda: devices_at(url) == ["cpu", "cuda:0"])


def devices_at(url: str) -> list[str]:
    """Give the devices of the workers that are there."""
    return sorted(worker["device"] for worker in httpx.get(f"{url}/v1/workers").json()["data"])


@pytest.mark.parametrize(
    ("cards", "devices"), [(0, [None, None, None]), (1, ["cuda:0", None, None]), (4, ["cuda:0", "cuda:1", "cuda:2"])]
)
def test_cards_are_shared_out_one_a_worker(cards: int, devices: list[str | None]) -> None:
    assert [serves.get("worker_device") for serves in shared_out(3, cards)] == devices
