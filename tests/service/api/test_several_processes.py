"""An API of several processes: they answer on one socket, count together, come back, and end with their parent."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from service.db.migrate import upgrade
from service.settings import Settings
from tests.service.api.door import Door, open_door
from tests.service.jobs.waiting import until
from tests.worker.runs import is_gone

REQUESTS = 40


@pytest.fixture
def two(tmp_path: Path, redis_url: str) -> Iterator[Door]:
    settings = Settings(data_dir=tmp_path, broker_url=redis_url, api_processes=2)
    upgrade(settings.database)
    with open_door(settings) as door:
        until(lambda: door.log.count("api_starts") >= 2)
        yield door


def children(door: Door) -> list[psutil.Process]:
    return [child for child in psutil.Process(door.pid).children() if not is_gone(child)]


def asked(door: Door, times: int) -> None:
    """Ask on connections of their own, so that either process may take each."""
    for _ in range(times):
        door.http.get("/v1/jobs", headers={"Connection": "close"}).raise_for_status()


def counted(door: Door) -> float:
    """Give how often the list was asked for, as whichever process answers tells it."""
    text = door.http.get("/metrics", headers={"Connection": "close"}).raise_for_status().text
    (number,) = re.findall(r'l0_http_requests_total\{[^}]*route="/v1/jobs",[^}]*\} (\S+)', text)
    return float(number)


def test_whichever_is_asked_tells_what_all_have_done(two: Door) -> None:
    assert len(children(two)) == 2
    asked(two, REQUESTS)
    assert [counted(two) for _ in range(10)] == [REQUESTS] * 10


def test_one_that_is_killed_comes_back_and_its_counts_stay(two: Door) -> None:
    asked(two, REQUESTS)
    before = children(two)
    for killed in before:
        killed.kill()
    until(lambda: not {child.pid for child in children(two)} & {child.pid for child in before} and _answers(two))
    asked(two, 1)
    assert counted(two) == REQUESTS + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_end_with_the_parent(two: Door, number: signal.Signals) -> None:
    family = [psutil.Process(two.pid), *children(two)]
    assert len(family) == 3
    family[0].send_signal(number)
    until(lambda: all(is_gone(process) for process in family))


def _answers(door: Door) -> bool:
    return len(children(door)) == 2 and door.log.count("api_starts") >= 4
