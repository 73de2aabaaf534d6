"""Sending ids to a real broker, and to one that is away, full or hung."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service.embedded_broker import command
from service.jobs.queue import JobQueue
from service.processes import end, spawn
from service.settings import Settings
from service.system import System
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until

GENEROUS_SECONDS = 20.0
NOT_CAUGHT = "publish raises kombu's OperationalError: it is not among the transport's connection_errors"


class Broker:
    """A broker of the test's own, to be mistreated."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "own.sock"
        self.url = f"redis+socket://{self.socket}"
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        started = command(self.folder, self.socket)
        self.process = spawn(started, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        self.process.send_signal(signal.SIGCONT)
        end(self.process, 10)

    def _answers(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def queue(broker: Broker) -> JobQueue:
    return JobQueue(Settings(data_dir=broker.folder, broker_url=broker.url))


@pytest.fixture
def brokerless(settings: Settings, tmp_path: Path) -> Iterator[System]:
    """A system whose broker has never been there."""
    made = System.open(settings.model_copy(update={"broker_url": f"redis+socket://{tmp_path / 'nobody.sock'}"}))
    yield made
    made.database.dispose()


def _waiting(broker: Broker, name: str) -> int:
    with redis.Redis(unix_socket_path=str(broker.socket)) as client:
        return int(client.llen(name))


def test_an_id_goes_to_the_queue_that_is_named_and_to_no_other(broker: Broker, queue: JobQueue) -> None:
    assert queue.publish("job_1", "gpu")
    assert (_waiting(broker, "gpu"), _waiting(broker, "cpu")) == (1, 0)


def test_ids_are_sent_after_the_broker_has_forgotten_everything(broker: Broker, queue: JobQueue) -> None:
    queue.publish("job_1", "cpu")
    with redis.Redis(unix_socket_path=str(broker.socket)) as client:
        client.flushall()
    assert queue.publish("job_2", "cpu")
    assert _waiting(broker, "cpu") == 1


def test_the_first_id_after_a_restart_of_the_broker_arrives(broker: Broker, queue: JobQueue) -> None:
    queue.publish("job_1", "cpu")
    broker.stop()
    broker.start()
    assert queue.publish("job_2", "cpu")
    assert _waiting(broker, "cpu") == 2  # the append-only file has kept the first


def test_a_broker_that_is_there_is_reachable(queue: JobQueue) -> None:
    queue.check_reachable()


def test_a_broker_that_is_away_is_not_reachable(broker: Broker, queue: JobQueue) -> None:
    broker.stop()
    with pytest.raises(Exception, match="connecting"):
        queue.check_reachable()


def test_a_job_is_accepted_while_the_broker_is_away(brokerless: System) -> None:
    job = scenes.job(brokerless, scenes.submitted(brokerless))
    assert (job.status, job.stage, job.published_at) == ("pending", "awaiting_dispatch", None)


def test_an_id_that_cannot_be_sent_is_no_error(broker: Broker, queue: JobQueue) -> None:
    queue.publish("job_1", "cpu")
    broker.stop()
    assert queue.publish("job_2", "cpu") is False


def test_a_broker_without_room_is_no_error(broker: Broker, queue: JobQueue) -> None:
    with redis.Redis(unix_socket_path=str(broker.socket)) as client:
        client.config_set("maxmemory", "1")
    assert queue.publish("job_1", "cpu") is False


def test_a_broker_that_hangs_does_not_hold_up_its_sender(broker: Broker, queue: JobQueue) -> None:
    queue.publish("job_1", "cpu")
    broker.process.send_signal(signal.SIGSTOP)
    sender = threading.Thread(target=queue.publish, args=("job_2", "cpu"))
    sender.start()
    sender.join(GENEROUS_SECONDS)
    stuck = sender.is_alive()
    broker.process.send_signal(signal.SIGCONT)
    sender.join()
    assert not stuck
