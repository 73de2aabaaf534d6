"""The compose stack of `docker-compose.yml` as a deployment for storms: its own restart policies bring back what dies.

Wants a Docker engine on this Linux machine and root: faults strike the containers' processes from outside, and the
files are looked at where the volume is.
"""

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from service.settings import Settings
from service.system import System
from tests.chaos.databases import Repair
from tests.chaos.deployment import Deployment
from tests.servers import freeze, resume
from tests.service.jobs.waiting import until
from tests.services import MARK, new_mark

ROOT = Path(__file__).parents[2]
OURS = ("migrate", "api", "worker")
BUILD_NETWORK = "CHAOS_BUILD_NETWORK"  # `host` where the engine has no bridge for builds
_USER = 10001  # of the images
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A project of compose: the shipped file, and one that changes what a storm needs otherwise."""

    project: str
    override: Path
    api_ports: tuple[int, int]
    scale: Mapping[str, int]

    def compose(self, *words: str) -> str:
        """Run `docker compose` and give what it prints; raises with what it said where it fails."""
        command = ["docker", "compose", "--project-name", self.project, "--file", str(ROOT / "docker-compose.yml")]
        ports = {"API_PORT": "-".join(map(str, self.api_ports))}
        return _output([*command, "--file", str(self.override), *words], os.environ | ports)

    def up(self) -> None:
        """Start what is not up, and wait until all is well."""
        scales = [word for name, count in self.scale.items() for word in ("--scale", f"{name}={count}")]
        self.compose("up", "--detach", "--wait", *scales)

    def down(self, *words: str) -> None:
        """Remove all containers; the volumes stay unless `--volumes` is among the words."""
        self.compose("down", *words)

    def containers(self, service: str) -> list[str]:
        """Give the ids of a service's containers, the same order each time."""
        return sorted(self.compose("ps", "--all", "--quiet", service).split())

    def stop_and_start(self, service: str) -> None:
        """Stop the first of a service's containers, and start it again."""
        first = self.containers(service)[0]
        for word in ("stop", "start"):
            _output(["docker", word, first], os.environ)

    def roll(self, service: str) -> None:
        """Restart a service's containers one after the other, each when the one before is well again."""
        for container in self.containers(service):
            _output(["docker", "restart", container], os.environ)
            until(partial(_is_well, container), _PATIENCE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Container:
    """One of a service's containers, whichever it is at the moment; Docker starts it again when it dies."""

    stack: Stack
    service: str
    number: int = 0

    @property
    def name(self) -> str:
        """What it is called in a report."""
        return f"{self.service}-{self.number}"

    @property
    def starts(self) -> int:
        """How often it was started."""
        return 1 + int(_inspected(self._id)["RestartCount"])

    @property
    def first(self) -> psutil.Process:
        """The first process of the container, seen from outside."""
        pid = int(_inspected(self._id)["State"]["Pid"])
        if pid == 0:
            raise psutil.NoSuchProcess(pid)
        return psutil.Process(pid)

    @property
    def process(self) -> psutil.Process:
        """The program itself, behind the small init process of the container."""
        children = self.first.children()
        if not children:
            raise psutil.NoSuchProcess(self.first.pid)
        return children[0]

    def is_well(self) -> bool:
        """Say whether its healthcheck has passed."""
        return _is_well(self._id)

    def is_running(self) -> bool:
        """Say whether Docker has it running."""
        return bool(_inspected(self._id)["State"]["Running"])

    def keep_alive(self) -> None:
        """Leave it to Docker, which has been told to in `docker-compose.yml`."""

    @property
    def _id(self) -> str:
        return self.stack.containers(self.service)[self.number]


@dataclass(frozen=True, kw_only=True)
class RedisContainer:
    """The broker of the stack."""

    container: Container

    def kill(self) -> None:
        """Kill it."""
        until(self.container.is_running, _PATIENCE_SECONDS)
        self.container.first.kill()

    def start(self) -> None:
        """Leave it to Docker."""

    def forget_everything(self) -> None:
        """Lose all messages."""
        until(self.container.is_well, _PATIENCE_SECONDS)
        self.container.stack.compose("exec", "-T", "redis", "redis-cli", "flushall")


@dataclass(frozen=True, kw_only=True)
class PostgresContainer:
    """The database of the stack."""

    container: Container
    url: str

    def freeze(self) -> Repair:
        """Stop every process of the server: `docker pause` wants a freezer of cgroups that not every engine has."""
        until(self.container.is_running, _PATIENCE_SECONDS)
        frozen = freeze(self.container.first)
        return lambda: resume(frozen)

    def crash(self) -> Repair:
        """Let it die; Docker brings it back."""
        until(self.container.is_running, _PATIENCE_SECONDS)
        self.container.first.kill()
        return lambda: None


@contextmanager
def composed(
    folder: Path, *, clock: Mapping[str, float], workers: int = 3, apis: int = 2
) -> Iterator[tuple[Stack, Deployment]]:
    """Build and run the stack for the time of the context, with settings of ours changed to `clock`."""
    mark, files = new_mark(), folder / "files"
    files.mkdir()
    os.chown(files, _USER, _USER)
    first_api, second_api, postgres_port = _free_ports(3)
    override = folder / "override.json"
    override.write_text(json.dumps(_override(mark, clock, files, postgres_port)))
    stack = Stack(
        project="l0-chaos",
        override=override,
        api_ports=(first_api, second_api),
        scale={"worker": workers, "api": apis},
    )
    url = f"postgresql+psycopg://l0:{os.environ.get('POSTGRES_PASSWORD', 'l0')}@127.0.0.1:{postgres_port}/l0"
    with ExitStack() as leaving:
        stack.compose("build")
        leaving.callback(stack.down, "--volumes")
        stack.up()
        settings = Settings(data_dir=folder, storage_dir=files, database_url=url, broker_url="redis://127.0.0.1:1/0")
        system = System.open(settings)
        leaving.callback(system.database.dispose)
        yield (
            stack,
            Deployment(
                mark=mark,
                urls=[f"http://127.0.0.1:{port}" for port in stack.api_ports],
                apis=[Container(stack=stack, service="api", number=number) for number in range(apis)],
                workers=[Container(stack=stack, service="worker", number=number) for number in range(workers)],
                broker=RedisContainer(container=Container(stack=stack, service="redis")),
                database=PostgresContainer(container=Container(stack=stack, service="postgres"), url=url),
                system=system,
            ),
        )


def _override(mark: str, clock: Mapping[str, float], files: Path, postgres_port: int) -> dict[str, Any]:
    changed = {MARK: mark, **{f"L0_{name.upper()}": str(value) for name, value in clock.items()}}
    build = {"network": os.environ.get(BUILD_NETWORK, "default")}
    services: dict[str, Any] = {name: {"environment": changed, "build": build} for name in OURS}
    services["postgres"] = {"ports": [f"127.0.0.1:{postgres_port}:5432"]}
    seen_from_here = {"driver_opts": {"type": "none", "o": "bind", "device": str(files)}}
    return {"services": services, "volumes": {"files": seen_from_here}}


def _free_ports(count: int) -> list[int]:
    """Give ports in a row that nobody uses: compose gives copies of a service the ports of a range."""
    while True:
        with ExitStack() as held:
            try:
                taken = [held.enter_context(_listening(0))]
                ports = [taken[0].getsockname()[1] + number for number in range(count)]
                taken += [held.enter_context(_listening(port)) for port in ports[1:]]
            except (OSError, OverflowError):
                continue
            return ports


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    return listener


def _is_well(container: str) -> bool:
    state = _inspected(container)["State"]
    return bool(state["Running"] and state.get("Health", {}).get("Status", "healthy") == "healthy")


def _inspected(container: str) -> dict[str, Any]:
    (found,) = json.loads(_output(["docker", "inspect", container], os.environ))
    return dict(found)


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
