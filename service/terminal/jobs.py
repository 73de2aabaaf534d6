"""Jobs: list them, look at one, follow it, and what else is done to one."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from l0core import screen
from l0core.cli import AsJson
from service.terminal import ends
from service.terminal.addresses import LOCAL
from service.terminal.connection import ApiKey, JobId, Url, connected
from service.terminal.tables import JOBS, job_pairs, jobs_table

if TYPE_CHECKING:
    from service.client import Client

app = typer.Typer()
_REFRESH_SECONDS = 2.0
_STATUSES = ("pending", "running", "succeeded", "failed", "cancelled")


@app.command("jobs", rich_help_panel=JOBS)
def list_jobs(
    status: Annotated[
        str | None,
        typer.Option(help=f"Only jobs in this state: {', '.join(_STATUSES)}.", autocompletion=lambda: list(_STATUSES)),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only jobs with this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most jobs to list, the newest.")] = 20,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing them, until Ctrl-C.")] = False,
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first.

    With --watch and --json: a line with the whole list every two seconds.

    Example: l0 jobs --status running --tag area=MN --watch
    """
    from service.terminal import calls

    with connected(url, api_key) as client:
        query = {f"tag.{name}": value for name, value in calls.tags(tag or ()).items()}
        query |= {name: value for name, value in {"status": status, "kind": kind}.items() if value is not None}
        if watch:
            return _watch_list(client, query, limit, as_json=as_json)
        found, more = calls.jobs(client, query, limit)
    if as_json:
        return screen.show_json(found)
    screen.show(jobs_table(found)) if found else screen.note("no jobs; `l0 submit M.npz y.npy` makes one")
    return screen.note(f"the newest {limit}; --limit {10 * limit} shows more") if more else None


def _watch_list(client: "Client", query: dict[str, Any], limit: int, *, as_json: bool) -> None:
    from rich.live import Live

    from service.terminal import calls
    from service.terminal.watching import patiently

    def found() -> list[dict[str, Any]]:
        return patiently(lambda: calls.jobs(client, query, limit)[0])

    if as_json:
        while True:
            screen.show_json(found(), as_line=True)
            time.sleep(_REFRESH_SECONDS)
    with Live(jobs_table(found()), console=screen.screen(), auto_refresh=False) as live:
        while True:
            time.sleep(_REFRESH_SECONDS)
            live.update(jobs_table(found()), refresh=True)


@app.command("job", rich_help_panel=JOBS)
def show_job(job: JobId, url: Url = LOCAL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Show one job: where it stands, its request, its result.

    Example: l0 job job_01k...
    """
    from service.terminal import calls

    with connected(url, api_key) as client:
        found = calls.job(client, job)
    if as_json:
        return screen.show_json(found)
    screen.show(screen.pairs(job_pairs(found)))
    screen.show("")
    return _show_summary(found)


@app.command(rich_help_panel=JOBS)
def watch(job: JobId, url: Url = LOCAL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Follow a job to its end; the exit code tells how it has ended.

    A service that restarts meanwhile is waited for. With --json: a line with the whole job at every change.

    Example: l0 watch job_01k...
    """
    from service.terminal.watching import followed

    with connected(url, api_key) as client:
        try:
            last = followed(client, job, _tell(as_json=as_json))
        except KeyboardInterrupt:
            screen.fail(f"no longer watching; the job goes on, `l0 cancel {job}` stops it", ends.Exit.INTERRUPTED)
    ended(last, as_json=as_json)


def _tell(*, as_json: bool) -> Any:
    return (lambda state: screen.show_json(state, as_line=True)) if as_json else (lambda _: None)


def ended(job: dict[str, Any], *, as_json: bool) -> None:
    """Show the result of a job that has ended, and end as it did."""
    if not as_json:
        _show_summary(job)
        if job["status"] == "succeeded":
            screen.note(_where(job))
    ends.end_with(job)


def _where(job: dict[str, Any]) -> str:
    """Say how the result is to be had."""
    if "weights" in job["links"]:
        return f"the weights: l0 weights {job['id']} -o weights.csv"
    return f"the files: l0 download {job['id']}"


def _show_summary(job: dict[str, Any]) -> None:
    from l0core.summaries import summary_of

    if job["summary"]:
        screen.show(summary_of(job["kind"], job["summary"]))


@app.command(rich_help_panel=JOBS)
def log(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print what has happened to a job, a line an event.

    With --json each line is a document.

    Example: l0 log job_01k... --follow
    """
    from service.terminal.following import happened

    with connected(url, api_key) as client:
        for event in happened(client, job, follow=follow):
            if as_json:
                screen.show_json(event, as_line=True)
            else:
                screen.show_text(f"{event['at']} {event['type']}: {screen.printable(event['message'])}")


@app.command(rich_help_panel=JOBS)
def cancel(job: JobId, url: Url = LOCAL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Ask a job to stop.

    Example: l0 cancel job_01k...
    """
    from service.terminal import calls

    with connected(url, api_key) as client:
        found = calls.cancel(client, job)
    if as_json:
        return screen.show_json(found)
    said = "cancelled" if found["status"] == "cancelled" else "stopping"
    return screen.note(f"{said}; `l0 weights {job} --checkpoint latest` gives what it had")


@app.command(rich_help_panel=JOBS)
def retry(job: JobId, url: Url = LOCAL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Submit an ended job once more; prints the new job's id.

    Example: l0 retry job_01k...
    """
    from service.terminal import calls

    with connected(url, api_key) as client:
        made = calls.retry(client, job)
    if as_json:
        return screen.show_json(made)
    screen.show_text(made["id"])
    return screen.note(f"follow it with: l0 watch {made['id']}")


@app.command(rich_help_panel=JOBS)
def delete(
    job: JobId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Delete an ended job and all it has left.

    Example: l0 delete job_01k... --yes
    """
    from service.terminal import calls

    if not yes and not sys.stdin.isatty():
        ends.wrong_usage(f"nobody is here to ask whether {job} shall be deleted; say so with --yes")
    if not yes and not typer.confirm(f"delete {job} and its results?", err=True):
        return screen.note("nothing is deleted")
    with connected(url, api_key) as client:
        calls.delete(client, job)
    return screen.show_json({"deleted": job}) if as_json else screen.note(f"{job} is deleted")
