"""An API killed in mid-upload: nobody sees half an upload, and its remains are gone at the next start."""

import os
import signal
import socket

import pytest

from service.settings import Settings
from service.storage.held import HELD
from tests.service.api.door import Door, open_door, until
from tests.service.problems.files import NPY

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_HEAD = f"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: {NPY}\r\nContent-Length: 500000\r\n\r\nhalf"


def _half_sent(door: Door) -> socket.socket:
    """Begin an upload, and see its first bytes arrive in a file that is known to be held."""
    client = socket.create_connection(("127.0.0.1", door.http.base_url.port or 0))
    before = set(door.incoming)
    client.sendall(_HEAD.encode())
    until(lambda: any(name.startswith(HELD) for name in set(door.incoming) - before))
    return client


def test_half_an_upload_of_a_killed_api_is_not_seen_and_is_removed_at_the_next_start(settings: Settings) -> None:
    with open_door(settings) as killed:
        with _half_sent(killed):
            os.kill(killed.pid, signal.SIGKILL)
        until(lambda: not _lives(killed.pid))
        (left,) = killed.incoming
        assert killed.rows() == (0, 0)
    with open_door(settings) as started:
        assert left not in started.incoming
        assert started.rows() == (0, 0)
        assert started.upload(b"the next one", NPY)


def test_an_upload_that_still_arrives_is_not_removed_by_another_api_that_starts(settings: Settings) -> None:
    with open_door(settings) as writing, _half_sent(writing) as client:
        (held,) = writing.incoming
        with open_door(settings):
            assert writing.incoming == [held]
        client.sendall(b"h" * (500_000 - 4))
        assert client.recv(4096).startswith(b"HTTP/1.1 201 ")
        assert writing.rows() == (1, 0)


def _lives(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123
        return stat.read().split()[2] != "Z"
