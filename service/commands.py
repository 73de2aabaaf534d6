"""The commands of the `l0` terminal. They load what they need when they are called, so that `l0 --help` is quick."""

import os
import sqlite3
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from l0core import cli as engine
from l0core import screen
from l0core.cli import AsJson
from l0core.version import VERSION
from service import key_commands
from service.ending import Ended, only_loading
from service.terminal import ends, jobs, machines, results, submitting
from service.terminal.tables import SERVICE

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="L0 calibration: household weights that meet published totals, with as few households as possible.",
    epilog=ends.EPILOG,
)
for part in (submitting, jobs, results, engine, machines):
    app.registered_commands.extend(part.app.registered_commands)
app.add_typer(key_commands.app, name="keys", rich_help_panel=SERVICE)
Data = Annotated[Path, typer.Option(help="Folder that holds everything: database, files, broker socket, logs.")]


@app.command(rich_help_panel=SERVICE)
def up(
    data: Data = Path("l0-data"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address of the API.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Run the whole service on this machine until Ctrl-C.

    Prints its address when it is ready.

    Example: l0 up --port 8000 --data ~/l0-data --workers 1
    """
    with only_loading():
        from service.auth.guard import RefusedToStart
        from service.children import StartFailed
        from service.db.revision import WrongRevision
        from service.embedded_broker import NoBroker
        from service.logging import configure
        from service.settings import Settings
        from service.supervisor import Supervisor

    settings = Settings(data_dir=data, port=port, host=host)
    configure(settings, process="supervisor")
    try:
        Supervisor(settings, workers).run(_tell_url if as_json else screen.show_text)
    except (RefusedToStart, WrongRevision, NoBroker, StartFailed) as error:
        screen.fail(str(error))


def _tell_url(url: str) -> None:
    screen.show_json({"url": url}, as_line=True)


@app.command(rich_help_panel=SERVICE)
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("demo-output"),
    as_json: AsJson = False,
) -> None:
    """Calibrate Minnesota through the whole service, on this machine.

    5,460 tax units, 29 published totals; everything is stopped at the end.

    Example: l0 demo --output demo-output
    """
    with only_loading():
        from rich.console import Console

        from service.client import ClientError, JobFailed
        from service.demo import run
        from service.local import NotStarted

    try:
        summary = run(output, Console(stderr=as_json))
    except (ClientError, JobFailed, NotStarted) as error:
        screen.fail(str(error))
    except (Ended, KeyboardInterrupt):
        screen.note("stopped")
        sys.exit(ends.Exit.INTERRUPTED)
    if as_json:
        screen.show_json(summary)


@app.command(rich_help_panel=SERVICE)
def api() -> None:
    """Run the API alone, on the address of L0_HOST and L0_PORT.

    Example: L0_PORT=8080 l0 api
    """
    with only_loading():
        from service.api.serve import REFUSALS, run
        from service.settings import Settings

    try:
        run(Settings())
    except REFUSALS as error:
        screen.fail(str(error))


@app.command(rich_help_panel=SERVICE)
def worker(
    queues: Annotated[str | None, typer.Option(help="Queues to serve, separated by commas.")] = None,
    device: Annotated[str | None, typer.Option(help="Device of its jobs: cpu, cuda, cuda:0.")] = None,
) -> None:
    """Run a worker alone.

    Example: l0 worker --queues gpu --device cuda:0
    """
    given = {"L0_WORKER_QUEUES": queues, "L0_WORKER_DEVICE": device}
    os.environ |= {name: value for name, value in given.items() if value is not None}
    os.execv(sys.executable, [sys.executable, "-m", "worker"])  # noqa: S606 - this process becomes the worker


@app.command(rich_help_panel=SERVICE)
def migrate(as_json: AsJson = False) -> None:
    """Bring the database of L0_DATABASE_URL to the present schema.

    Example: L0_DATABASE_URL=postgresql+psycopg://l0@db/l0 l0 migrate
    """
    from service.db import revision
    from service.logging import configure
    from service.settings import Settings

    settings = Settings()
    configure(settings, process="migrate")
    try:
        revision.migrate(settings.database)
    except revision.WrongRevision as error:
        screen.fail(str(error))
    if as_json:
        screen.show_json({"migrated": True})


@app.command(rich_help_panel=SERVICE)
def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder for the copy; `l0 up --data` runs on it.")],
    data: Data = Path("l0-data"),
    as_json: AsJson = False,
) -> None:
    """Copy the database and the files of a service, also while it runs.

    Example: l0 backup /backups/monday --data ~/l0-data
    """
    from service.backup import NoBackup, back_up
    from service.settings import Settings

    try:
        made = back_up(Settings(data_dir=data), folder)
    except (NoBackup, OSError, sqlite3.Error) as error:
        screen.fail(str(error))
    if as_json:
        return screen.show_json({name: _as_text(value) for name, value in asdict(made).items()})
    size, bytes_of_files = f"{made.database_bytes:,}", f"{made.files_bytes:,}"
    screen.show_text(f"{made.folder}: database of {size} bytes, {made.n_files} files of {bytes_of_files} bytes")
    if made.elsewhere:
        screen.show_text(f"the files are in {made.elsewhere}: copy that bucket now, after the database")
    return None


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


@app.command(rich_help_panel=SERVICE)
def version(as_json: AsJson = False) -> None:
    """Print the version.

    Example: l0 version
    """
    screen.show_json({"version": VERSION}) if as_json else screen.show_text(VERSION)
