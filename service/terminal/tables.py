"""Jobs and workers as rows for people."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from l0core.screen import left, percent, right, screen, short, table
from service.terminal.watching import ENDED, duration, fit_of

JOBS, RESULTS, SERVICE = "Jobs", "Results", "The service"
_STYLES = {"pending": "yellow", "running": "cyan", "succeeded": "green", "failed": "red", "cancelled": "dim"}
_BAR_WIDTH = 8
_COLUMNS = {
    "id": left,
    "status": left,
    "stage": left,
    "progress": left,
    "loss": right,
    "active": right,
    "error": right,
    "age": right,
    "tags": left,
}
_FIRST_TO_GO = ("tags", "error", "loss", "stage", "progress", "active")


def jobs_table(jobs: Sequence[Mapping[str, Any]], *, now: datetime | None = None) -> Table:
    """Give jobs as a table as wide as the terminal: what matters least is left out where there is no room."""
    out = screen()
    rows = [_job_row(job, now or datetime.now(UTC), with_bar=out.is_terminal) for job in jobs]
    shown = list(_COLUMNS)
    for name in ("", *_FIRST_TO_GO):
        shown = [column for column in shown if column != name]
        made = table(
            [_COLUMNS[column](column) for column in shown], ([row[column] for column in shown] for row in rows)
        )
        if out.measure(made, options=out.options.update(width=10_000)).maximum <= out.width:
            break
    return made


def _job_row(job: Mapping[str, Any], now: datetime, *, with_bar: bool) -> dict[str, object]:
    now_at = fit_of(job)
    ended = job["status"] in ENDED
    return {
        "id": job["id"],
        "status": Text(job["status"], style=_STYLES.get(job["status"], "default")),
        "stage": "" if ended else (job["stage"] or "").replace("_", " "),
        "progress": _progress(job, with_bar=with_bar),
        "loss": _number(now_at.get("loss"), short),
        "active": _number(now_at.get("active"), "{:,.0f}".format),
        "error": _number(now_at.get("mean_abs_relative_error"), percent),
        "age": duration((now - datetime.fromisoformat(job["created_at"])).total_seconds()),
        "tags": " ".join(f"{name}={value}" for name, value in job["tags"].items()),
    }


def _number(value: float | None, shown: Callable[[float], str]) -> str:
    return "" if value is None else shown(value)


def _progress(job: Mapping[str, Any], *, with_bar: bool) -> RenderableType:
    progress = job["progress"] or {}
    total = progress.get("epochs") or 0
    done = total if job["status"] == "succeeded" else progress.get("epoch") or 0
    if not total:
        return Text("")
    if not with_bar:
        return Text(f"{done / total:.0%}")
    style = _STYLES.get(job["status"], "default")
    return ProgressBar(total=total, completed=done, width=_BAR_WIDTH, complete_style=style, finished_style=style)


def job_pairs(job: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Give what a person wants to know of a job, a line each."""
    yield "job", job["id"]
    yield "status", Text(job["status"], style=_STYLES.get(job["status"], "default"))
    if job["status"] not in ENDED:
        yield "stage", (job["stage"] or "").replace("_", " ")
    if job["error"]:
        yield "error", f"{job['error'].get('code')}: {job['error'].get('detail')}"
    yield "attempt", f"{job['attempt']} of {job['max_attempts']}"
    for name in ("created_at", "started_at", "finished_at"):
        if job[name]:
            yield name.removesuffix("_at"), job[name]
    yield "problem", job["problem_id"]
    yield "asked for", ", ".join(f"{name}={value}" for name, value in sorted(_said(job).items())) or "nothing"
    yield "seed, device", f"{job['seed']}, {job['device']}"
    for name in ("retry_of", "resumed_from"):
        if job[name]:
            yield name.replace("_", " "), str(job[name])
    if job["tags"]:
        yield "tags", ", ".join(f"{name}={value}" for name, value in job["tags"].items())


def _said(job: Mapping[str, Any]) -> dict[str, Any]:
    """Give the hyperparameters that are not as they are by default."""
    from pydantic_core import to_jsonable_python

    from l0core.declared import default_of
    from l0core.kinds import KINDS

    if job["kind"] not in KINDS:
        return dict(job["hyperparameters"])
    model = KINDS[job["kind"]].hyperparameters
    usual = {name: to_jsonable_python(default_of(model, name)) for name in model.model_fields}
    return {name: value for name, value in job["hyperparameters"].items() if value != usual.get(name)}


def workers_table(workers: Iterable[Mapping[str, Any]]) -> Table:
    """Give workers as a table."""
    columns = [left("id"), left("host"), left("queues"), left("device"), left("job"), left("engine"), right("seen")]
    return table(columns, map(_worker_row, workers))


def _worker_row(worker: Mapping[str, Any]) -> tuple[object, ...]:
    seen = datetime.now(UTC) - datetime.fromisoformat(worker["seen_at"])
    return (
        worker["id"],
        worker["host"],
        ", ".join(worker["queues"]),
        worker["device"],
        " ".join(worker["jobs"]) or ("busy" if worker["busy"] else "idle"),
        worker["versions"].get("engine"),
        f"{duration(seen.total_seconds())} ago",
    )
