"""`l0 keys`: make, list and revoke API keys, on the database itself; no running service is needed."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from service.auth.callers import Scope

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from service.auth.models import ApiKey

app = typer.Typer(no_args_is_help=True, help="API keys: who may call, as which tenant, and what they may do.")
_err = Console(stderr=True)
Data = Annotated[
    Path | None, typer.Option(help="Folder of a service on one machine; else L0_DATABASE_URL or L0_DATA_DIR.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whose data the key reaches; `local` is what was made without keys.")],
    scope: Annotated[Scope, typer.Option(help="read, write (reads too) or admin (all, and /metrics).")],
    name: Annotated[str, typer.Option(help="Who or what has the key, for the list.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once: nobody can be told it again.

    Example: l0 keys create --tenant census --scope write --name "nightly run" --data ~/l0-data
    """
    from service.auth import keys

    with _keys(data, make_schema=True) as session:
        row, key = keys.make(session, tenant=tenant, scope=scope, name=name)
    if as_json:
        typer.echo(json.dumps(_view(row) | {"key": key}))
        return
    typer.echo(key)
    _err.print(f"{row.id}: tenant {row.tenant}, scope {row.scope}; keep the key, it is shown this once", soft_wrap=True)


@app.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List keys: id, tenant, scope, name, when made, when revoked. The keys themselves are kept nowhere."""
    from service.auth import repository

    with _keys(data) as session:
        rows = repository.keys(session, tenant)
    if as_json:
        typer.echo(json.dumps({"data": [_view(row) for row in rows]}))
        return
    for row in rows:
        state = f"revoked {_moment(row.revoked_at)}" if row.revoked_at else "good"
        typer.echo("\t".join([row.id, row.tenant, row.scope, str(_moment(row.created_at)), state, row.name]))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `l0 keys list` has it.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let a key be good no more: within ten seconds no process takes it.

    Example: l0 keys revoke key_01k3 --data ~/l0-data
    """
    from service.auth import keys

    with _keys(data) as session:
        row = keys.revoke(session, key_id)
    typer.echo(json.dumps(_view(row)) if as_json else f"{row.id}: revoked {_moment(row.revoked_at)}")


@contextmanager
def _keys(data: Path | None, *, make_schema: bool = False) -> "Iterator[Session]":
    """Give a transaction on the database that is meant; what is wrong ends the program with a sentence."""
    from service.auth.keys import BadRequest
    from service.auth.offline import keys_of
    from service.db.revision import WrongRevision
    from service.settings import Settings

    settings = Settings() if data is None else Settings(data_dir=data)
    if data is not None and settings.database_url:
        _fail("--data and L0_DATABASE_URL name two databases; leave one of them out")
    try:
        with keys_of(settings, make_schema=make_schema) as session:
            yield session
    except (BadRequest, WrongRevision) as error:
        _fail(str(error))


def _view(row: "ApiKey") -> dict[str, Any]:
    told = {name: getattr(row, name) for name in ("id", "tenant", "scope", "name")}
    return {**told, "created_at": _moment(row.created_at), "revoked_at": _moment(row.revoked_at)}


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def _fail(message: str) -> None:
    _err.print(f"[red]error:[/red] {message}", highlight=False, soft_wrap=True)
    sys.exit(1)
