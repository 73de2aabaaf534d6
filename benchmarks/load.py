"""The API under load: rate against latency, a curve of a million points, the lists; on SQLite and on PostgreSQL.

    python -m benchmarks.load

A fresh database of 10,000 jobs, the real API process, 200 idle streams of events, and a load generator; all of it,
PostgreSQL too, on this machine. Writes benchmarks/results/load.md. A name of a database asks for
that one only, `--quick` for 300 requests a second only; both write nothing.
"""

import base64
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import structlog
from sqlalchemy import insert, select

from benchmarks import report
from benchmarks.traffic import Plan
from service.auth.guard import ANONYMOUS_TENANT
from service.db.migrate import upgrade
from service.db.session import Database
from service.ids import new_id
from service.jobs import curves, traces
from service.jobs.models import Event, Job
from service.jobs.values import EventNote
from service.problems.models import StoredProblem
from service.settings import Settings
from tests.servers import postgres_server
from tests.service.api.door import Door, open_door

JOBS = 10_000
STREAMS = 200
PROCESSES = 2
RATES = [100, 200, 300, 400, 600]
SECONDS = 10.0
SERIES, STEPS = 20, 50_000
_STATES = ["succeeded"] * 6 + ["failed"] * 2 + ["cancelled", "pending"]
_EVENTS = 8
_SAMPLES = 15
_HOW = f"""One API of {PROCESSES} processes (`L0_API_PROCESSES`), {JOBS:,} jobs, {STREAMS} streams that wait; the
load generator and PostgreSQL share the machine with it. {SECONDS:g} s at each rate, arrivals constant, latency from the
moment a request was due: 70 % one job, 10 % `?wait=1` (the second it waits is not counted), 10 % events, 10 % lists of
50 jobs. Before the run the machine was busy with {{load}} other processes on average; only where that is near 0 are
these the figures of a machine of one's own.
"""


def main() -> None:
    """Measure on both databases and write the page."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    quick, others = "--quick" in sys.argv, os.getloadavg()[0]
    found = {}
    for name in [name for name in ("sqlite", "postgresql") if name in sys.argv] or ["sqlite", "postgresql"]:
        with _door(name) as door:
            found[name] = _measured(door, [300] if quick else RATES)
        sys.stdout.write(_section(name, found[name]))
    if len(found) == 2 and not quick:
        sections = [_section(name, seen) for name, seen in found.items()]
        report.keep("load", "The API under load", "\n".join([_HOW.format(load=f"{others:.1f}"), *sections]))


@contextmanager
def _door(name: str) -> Iterator[Door]:
    """Serve a fresh database of that kind."""
    with tempfile.TemporaryDirectory() as folder, _database(name, Path(folder)) as url:
        upgrade(url)
        settings = Settings(
            data_dir=Path(folder),
            database_url=url,
            broker_url=f"redis+socket://{folder}/none",
            api_processes=PROCESSES,
        )
        with open_door(settings) as door:
            yield door


@contextmanager
def _database(name: str, folder: Path) -> Iterator[str]:
    if name == "sqlite":
        yield f"sqlite:///{folder / 'l0.db'}"
        return
    with postgres_server() as url:
        yield url


def _measured(door: Door, rates: list[int]) -> dict[str, Any]:
    """Seed, then measure everything."""
    database = door.system.database
    _seed(database)
    writing = _write_curves(database)
    plan = _plan(door, rates)
    return {
        "writing": writing,
        "metrics": _timed(door, f"/v1/jobs/{_longest(database)}/metrics"),
        "lists": {what: _timed(door, path) for what, path in _lists(plan).items()},
        "load": _loaded(door, plan),
    }


def _seed(database: Database) -> None:
    """List jobs in every state, with events."""
    problem = new_id("prb")
    jobs = [_job(number, problem) for number in range(JOBS)]
    with database.transaction() as session:
        session.add(
            StoredProblem(
                id=problem,
                tenant=ANONYMOUS_TENANT,
                kind="calibration",
                sha256="0" * 64,
                sizes={},
                findings=[],
                tags={},
                storage_key="problems/none",
            )
        )
        session.flush()
        session.execute(insert(Job), jobs)
        session.execute(
            insert(Event),
            [
                {"job_id": job["id"], "seq": seq, "type": "stage", "message": "selecting", "data": {"stage": "x"}}
                for job in jobs
                for seq in range(1, _EVENTS + 1)
            ],
        )


def _job(number: int, problem: str) -> dict[str, Any]:
    status = _STATES[number % len(_STATES)]
    return {
        "id": new_id("job"),
        "tenant": ANONYMOUS_TENANT,
        "kind": "calibration" if number % 2 else "sampling",
        "problem_id": problem,
        "problem_sha256": "0" * 64,
        "hyperparameters": {f"hyperparameter_{i}": 0.1 * i for i in range(24)},
        "seed": number,
        "device": "cpu",
        "queue": "cpu",
        "tags": {"run": str(number)},
        "status": status,
        "stage": "evaluating",
        "progress": {"epoch": 100, "epochs": 1000, "loss": 0.125, "active": 400, "eta_seconds": 12.5},
        "version": 12,
        "last_event": _EVENTS,
        "max_attempts": 3,
        "versions": {"service": "1", "engine": "1", "torch": "2", "python": "3"},
        "summary": {f"number_{i}": 0.1 * i for i in range(20)} if status == "succeeded" else None,
        "error": {"code": "diverged", "detail": "the loss is no number"} if status == "failed" else None,
    }


def _longest(database: Database) -> str:
    with database.reading() as session:
        return session.scalars(select(Job.id).where(Job.status == "succeeded").order_by(Job.id).limit(1)).one()


def _write_curves(database: Database) -> dict[str, float]:
    """Report a million points as a worker does, in batches; then the last batch again."""
    job_id = _longest(database)
    values = np.random.default_rng(0).normal(size=(STEPS, SERIES)).cumsum(axis=0).tolist()
    points = [(step, {f"series_{i}": value for i, value in enumerate(row)}) for step, row in enumerate(values)]
    seconds = []
    for start in range(0, STEPS, 500):
        began = time.perf_counter()
        with database.transaction() as session:
            curves.put_metrics(session, job_id, points[start : start + 500])
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    with database.transaction() as session:
        curves.put_metrics(session, job_id, points[-500:])
    return {"rows_a_second": STEPS * SERIES / sum(seconds), "again": 500 * SERIES / (time.perf_counter() - began)}


def _plan(door: Door, rates: list[int]) -> Plan:
    with door.system.database.reading() as session:
        jobs = list(session.scalars(select(Job.id).order_by(Job.id)))
        pending = select(Job.id, Job.version).where(Job.status == "pending").order_by(Job.id)
        quiet = [(job_id, version) for job_id, version in session.execute(pending)]
    cursors = [base64.urlsafe_b64encode(json.dumps(job_id).encode()).decode().rstrip("=") for job_id in jobs[60:2000]]
    url = httpx.URL(door.http.base_url)
    return Plan(
        host=url.host,
        port=url.port or 80,
        rates=rates,
        seconds=SECONDS,
        streams=STREAMS,
        jobs=jobs,
        quiet=quiet,
        cursors=cursors,
    )


def _lists(plan: Plan) -> dict[str, str]:
    return {
        "first page": "/v1/jobs",
        "page 190 of 200, by cursor": f"/v1/jobs?cursor={plan.cursors[440]}",
        "by status": "/v1/jobs?status=failed",
        "by kind": "/v1/jobs?kind=sampling",
        "by status and kind": "/v1/jobs?status=failed&kind=sampling",
        "by status and kind that no job has": "/v1/jobs?status=cancelled&kind=calibration",
        "one job": f"/v1/jobs/{plan.jobs[5]}",
    }


def _timed(door: Door, path: str) -> dict[str, float]:
    """Ask again and again with nothing else going on; milliseconds and bytes."""
    spent = []
    for _ in range(_SAMPLES):
        began = time.perf_counter()
        reply = door.http.get(path).raise_for_status()
        spent.append((time.perf_counter() - began) * 1000)
    return {"median": statistics.median(spent), "worst": max(spent), "bytes": len(reply.content)}


def _loaded(door: Door, plan: Plan) -> dict[str, Any]:
    """Let the generator follow the plan, while an event a quarter of a second goes to one of its streams."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, _events(door.system.database, plan):
        json.dump(asdict(plan), file)
        file.flush()
        command = [sys.executable, "-m", "benchmarks.traffic", file.name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@contextmanager
def _events(database: Database, plan: Plan) -> Iterator[None]:
    """Add an event to one of the followed jobs four times a second."""
    stop = threading.Event()
    watched = [job_id for job_id, _ in plan.quiet[: plan.streams]]

    def add() -> None:
        number = 0
        while not stop.wait(0.25):
            number += 1
            note = EventNote(type="noted", message="a note", data={"sent": time.time()})
            with database.transaction() as session:
                traces.add_event(session, watched[number % len(watched)], note)

    thread = threading.Thread(target=add)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _section(name: str, seen: dict[str, Any]) -> str:
    """Tell what was seen on one database, in Markdown."""
    lines = [f"## {name}", "", "| requests a second | p50, ms | p95 | p99 | worst | errors | generator late, p99 |"]
    lines += ["|---:" * 7 + "|"]
    lines += [_row(row) for row in seen["load"]["rows"]]
    lines += ["", "p99 by kind of request, ms:", "", "| requests a second | job | wait | events | list | deep list |"]
    lines += ["|---:" * 6 + "|"]
    lines += [_kinds(row) for row in seen["load"]["rows"]]
    delays, ended = seen["load"]["event_delays"], seen["load"]["streams_ended"]
    lines += [
        "",
        f"An event reached its stream after {np.median(delays):.0f} ms (median of {len(delays)}), "
        f"p99 {np.percentile(delays, 99):.0f} ms; {ended} of {STREAMS} streams ended.",
        "",
        "| with nothing else going on | median, ms | worst | bytes |",
        "|---|---:|---:|---:|",
        *(_asked(what, timed) for what, timed in seen["lists"].items()),
        _asked(f"all curves of a job of {SERIES * STEPS:,} points", seen["metrics"]),
        "",
        f"Points written: {seen['writing']['rows_a_second']:,.0f} a second in batches of 10,000; "
        f"the same batch once more: {seen['writing']['again']:,.0f}.",
        "",
    ]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    spent = np.concatenate([np.asarray(values) for values in row["milliseconds"].values()])
    quantiles = " | ".join(f"{value:.1f}" for value in np.percentile(spent, [50, 95, 99, 100]))
    errors = f"{len(row['errors'])}" + (f" ({row['errors'][0]})" if row["errors"] else "")
    return f"| {row['rate']} | {quantiles} | {errors} | {np.percentile(row['late'], 99):.1f} |"


def _kinds(row: dict[str, Any]) -> str:
    kinds = ("job", "wait", "events", "list", "deep list")
    return (
        f"| {row['rate']} | "
        + " | ".join(f"{np.percentile(row['milliseconds'][kind], 99):.1f}" for kind in kinds)
        + " |"
    )


def _asked(what: str, timed: dict[str, float]) -> str:
    return f"| {what} | {timed['median']:.1f} | {timed['worst']:.1f} | {timed['bytes']:,.0f} |"


if __name__ == "__main__":
    main()
