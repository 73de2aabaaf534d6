"""Clients that poll, in a process of their own: constant arrivals whatever the server does, and idle streams beside.

    python -m benchmarks.traffic PLAN.json

A request's latency counts from the moment it was due, so that a server that stands still is not spared the requests
that would have come meanwhile. What was seen goes to standard output as JSON.
"""

import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

_PATIENCE_SECONDS = 30.0
_WAIT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where to, with which jobs, at which rates."""

    host: str
    port: int
    rates: list[int]
    seconds: float
    streams: int
    jobs: list[str]
    quiet: list[tuple[str, int]]
    cursors: list[str]


@dataclass(kw_only=True)
class Seen:
    """Latencies in milliseconds by kind of request, and what went wrong."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)


class Connections:
    """HTTP/1.1 connections kept alive: an idle one is taken, else one is opened."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, path: str) -> tuple[int, bytes]:
        """Give status and body of a GET."""
        reader, writer = await self._one()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._address[0]}\r\n\r\n".encode())
        status, length = _head(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(length)
        self._idle.append((reader, writer))
        return status, body

    async def _one(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(*self._address)


def _head(head: bytes) -> tuple[int, int]:
    lines = head.lower().split(b"\r\n")
    lengths = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
    return int(lines[0].split()[1]), lengths[0] if lengths else 0


async def follow(plan: Plan, job_id: str, delays: list[float]) -> None:
    """Hold a stream of events open; notes how old each event that carries its moment is when it comes."""
    reader, writer = await asyncio.open_connection(plan.host, plan.port)
    head = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: {plan.host}\r\nAccept: text/event-stream\r\n\r\n"
    writer.write(head.encode())
    async for line in reader:
        if line.startswith(b"data: "):
            sent = json.loads(line[6:]).get("sent")
            if sent is not None:
                delays.append((time.time() - sent) * 1000)


def _choices(plan: Plan, draw: random.Random) -> list[tuple[str, int, Callable[[], str]]]:
    """Give each kind of request, how many of a hundred are of it, and its path."""

    def waiting() -> str:
        job_id, version = draw.choice(plan.quiet)
        return f"/v1/jobs/{job_id}?wait={_WAIT_SECONDS:g}&after_version={version}"

    return [
        ("job", 70, lambda: f"/v1/jobs/{draw.choice(plan.jobs)}"),
        ("wait", 10, waiting),
        ("events", 10, lambda: f"/v1/jobs/{draw.choice(plan.jobs)}/events"),
        ("list", 6, lambda: draw.choice(["/v1/jobs", "/v1/jobs?status=failed", "/v1/jobs?kind=calibration"])),
        ("deep list", 4, lambda: f"/v1/jobs?cursor={draw.choice(plan.cursors)}"),
    ]


async def at_rate(plan: Plan, connections: Connections, rate: int, draw: random.Random) -> Seen:
    """Send `rate` requests a second for `plan.seconds`, each when it is due."""
    seen = Seen()
    choices = _choices(plan, draw)
    weights = [weight for _, weight, _ in choices]
    start = time.perf_counter() + 0.2
    tasks = []
    for number in range(int(rate * plan.seconds)):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        seen.late.append((time.perf_counter() - due) * 1000)
        ((kind, _, path),) = draw.choices(choices, weights)
        tasks.append(asyncio.create_task(_one(connections, seen, kind=kind, path=path(), due=due)))
    await asyncio.gather(*tasks)
    return seen


async def _one(connections: Connections, seen: Seen, *, kind: str, path: str, due: float) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            status, body = await connections.get(path)
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        seen.errors.append(f"{kind}: {type(error).__name__}")
        return
    spent = (time.perf_counter() - due) * 1000
    seen.milliseconds[kind].append(spent - _WAIT_SECONDS * 1000 if kind == "wait" else spent)
    if status != 200:
        seen.errors.append(f"{kind}: {status} {body[:80]!r}")


async def measure(plan: Plan) -> dict[str, Any]:
    """Open the streams, then go through the rates."""
    draw, delays = random.Random(0), []  # noqa: S311 - a mix that comes again
    streams = [asyncio.create_task(follow(plan, plan.quiet[i][0], delays)) for i in range(plan.streams)]
    await asyncio.sleep(2)
    connections = Connections(plan.host, plan.port)
    await at_rate(plan, connections, 50, draw)  # warm
    delays.clear()
    rows = [{"rate": rate, **vars(await at_rate(plan, connections, rate, draw))} for rate in plan.rates]
    ended = sum(stream.done() for stream in streams)
    return {"rows": rows, "event_delays": delays, "streams_ended": ended}


def main() -> None:
    """Read the plan, follow it, tell what was seen."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    json.dump(uvloop.run(measure(plan)), sys.stdout)


if __name__ == "__main__":
    main()
