"""Streams of events whose server, connection or database is lost; and many streams that only wait."""

import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psutil

from service.db.migrate import upgrade
from service.jobs import traces
from service.settings import Settings
from service.system import System
from tests.servers import own_postgres
from tests.service.api.door import Door, open_door
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until

STREAMS = 200
_DATABASE = 40  # most connections it keeps to PostgreSQL


class Stream:
    """One connection to a stream of events, read byte by byte as they come."""

    def __init__(self, door: Door, job_id: str, after: int = 0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", door.http.base_url.port or 0), timeout=90)
        lines = (f"GET /v1/jobs/{job_id}/events HTTP/1.1", "Host: localhost", "Accept: text/event-stream")
        self._socket.sendall("\r\n".join((*lines, f"Last-Event-ID: {after}", "", "")).encode())
        self._file = self._socket.makefile("rb")

    def next(self) -> int | None:
        """Give the number of the next event; None where the connection has ended."""
        for line in self._file:
            if line.startswith(b"data: "):
                return int(json.loads(line[6:])["seq"])
        return None

    def cut(self) -> None:
        """End the connection at once, without a word."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def add_event(system: System, job_id: str) -> None:
    scenes.write(system, lambda session: traces.add_event(session, job_id, scenes.note("news")))


def a_job(door: Door) -> str:
    job_id: str = door.job(door.listed_problem())["id"]
    return job_id


def test_a_stream_goes_on_at_another_api_after_its_own_was_killed(settings: Settings) -> None:
    """R13: no event is lost and none comes twice."""
    with open_door(settings) as other, ExitStack() as stack:
        killed = stack.enter_context(open_door(settings))
        job_id = a_job(other)
        add_event(other.system, job_id)
        with closing(Stream(killed, job_id)) as stream:
            seen = [stream.next(), stream.next()]
            os.kill(killed.pid, signal.SIGKILL)
            add_event(other.system, job_id)
            assert stream.next() is None
        with closing(Stream(other, job_id, after=2)) as stream:
            seen.append(stream.next())
            add_event(other.system, job_id)
            seen.append(stream.next())
    assert seen == [1, 2, 3, 4]


def test_a_stream_that_is_cut_between_any_two_events_loses_none(settings: Settings) -> None:
    """R21."""
    with open_door(settings) as door:
        job_id, seen = a_job(door), [0]
        for _ in range(5):
            stream = Stream(door, job_id, after=seen[-1])
            seen.append(stream.next() or 0)
            stream.cut()
            add_event(door.system, job_id)
    assert seen == [0, 1, 2, 3, 4, 5]


@contextmanager
def streams(door: Door, job_id: str, count: int) -> Iterator[list[Stream]]:
    """Hold streams open that have all been served."""
    opened = [Stream(door, job_id) for _ in range(count)]
    try:
        assert [stream.next() for stream in opened] == [1] * count
        yield opened
    finally:
        for stream in opened:
            stream.close()


def test_streams_that_wait_hold_no_thread_and_leave_nothing(settings: Settings) -> None:
    """R20: half of them is dropped; the others, and everybody else, are served."""
    with open_door(settings) as door:
        job_id = a_job(door)
        at_first = sockets(door)
        with streams(door, job_id, STREAMS) as opened:
            assert sockets(door) >= at_first + STREAMS
            assert psutil.Process(door.pid).num_threads() < STREAMS // 4
            for stream in opened[: STREAMS // 2]:
                stream.cut()
            until(lambda: sockets(door) <= at_first + STREAMS // 2 + _DATABASE)
            assert door.http.get(f"/v1/jobs/{job_id}").json()["status"] == "pending"
            add_event(door.system, job_id)
            assert {stream.next() for stream in opened[STREAMS // 2 :]} == {2}
        until(lambda: sockets(door) <= at_first + _DATABASE)


def sockets(door: Door) -> int:
    """Count the sockets of the API's process."""
    count = 0
    for handle in Path(f"/proc/{door.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += handle.readlink().name.startswith("socket:")
    return count


def test_a_stream_outlives_a_database_that_is_away_for_a_while(tmp_path: Path, redis_url: str) -> None:
    with own_postgres() as server:
        upgrade(server.url)
        settings = Settings(data_dir=tmp_path, database_url=server.url, broker_url=redis_url)
        with open_door(settings) as door:
            job_id = a_job(door)
            with closing(Stream(door, job_id)) as stream:
                assert stream.next() == 1
                frozen = server.freeze()
                for process in frozen:
                    process.resume()
                add_event(door.system, job_id)
                assert stream.next() == 2
                server.stop()
                until(lambda: "watch_interrupted" in door.log)
                server.start()
                until(lambda: _can_write(door.system, job_id))
                assert stream.next() == 3


def _can_write(system: System, job_id: str) -> bool:
    system.database.dispose()  # the connections of before
    add_event(system, job_id)
    return True
