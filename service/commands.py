"""The commands of the `l0` terminal. They load what they need when they are called, so that `l0 --help` is quick."""

import os
import sqlite3
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from l0core.cli import app as engine
from l0core.version import VERSION
from service import key_commands
from service.ending import Ended, only_loading

app = typer.Typer(
    no_args_is_help=True,
    help="L0 calibration: household weights that meet published totals, with as few households as possible.",
)
app.registered_commands.extend(engine.registered_commands)
app.add_typer(key_commands.app, name="keys")
_err = Console(stderr=True)
Data = Annotated[Path, typer.Option(help="Folder that holds everything: database, files, broker socket, logs.")]


@app.command()
def up(
    data: Data = Path("l0-data"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address of the API.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
) -> None:
    """Run the whole service on this machine until Ctrl-C; prints its address when it is ready.

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
        Supervisor(settings, workers).run(typer.echo)
    except (RefusedToStart, WrongRevision, NoBroker, StartFailed) as error:
        _fail(str(error))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("demo-output"),
) -> None:
    """Calibrate Minnesota's 5,460 tax units to 29 published totals, through the whole service.

    Example: l0 demo --output demo-output
    """
    with only_loading():
        from service.client import ClientError, JobFailed
        from service.demo import run
        from service.local import NotStarted

    try:
        run(output, Console())
    except (ClientError, JobFailed, NotStarted) as error:
        _fail(str(error))
    except (Ended, KeyboardInterrupt):
        _err.print("stopped")
        sys.exit(130)


@app.command()
def api() -> None:
    """Run the API alone, on the address of L0_HOST and L0_PORT."""
    with only_loading():
        from service.api.serve import REFUSALS, run
        from service.settings import Settings

    try:
        run(Settings())
    except REFUSALS as error:
        _fail(str(error))


@app.command()
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


@app.command()
def migrate() -> None:
    """Bring the database of L0_DATABASE_URL to the present schema."""
    from service.db import revision
    from service.logging import configure
    from service.settings import Settings

    settings = Settings()
    configure(settings, process="migrate")
    try:
        revision.migrate(settings.database)
    except revision.WrongRevision as error:
        _fail(str(error))


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder for the copy; `l0 up --data` runs on it.")],
    data: Data = Path("l0-data"),
) -> None:
    """Copy the database and the files of a service on one machine, also while it runs.

    Example: l0 backup /backups/monday --data ~/l0-data
    """
    from service.backup import NoBackup, back_up
    from service.settings import Settings

    try:
        made = back_up(Settings(data_dir=data), folder)
    except (NoBackup, OSError, sqlite3.Error) as error:
        _fail(str(error))
    else:
        size, bytes_of_files = f"{made.database_bytes:,}", f"{made.files_bytes:,}"
        typer.echo(f"{made.folder}: database of {size} bytes, {made.n_files} files of {bytes_of_files} bytes")
        if made.elsewhere:
            typer.echo(f"the files are in {made.elsewhere}: copy that bucket now, after the database")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(VERSION)


def _fail(message: str) -> None:
    _err.print(f"[red]error:[/red] {message}", highlight=False, soft_wrap=True)
    sys.exit(1)
