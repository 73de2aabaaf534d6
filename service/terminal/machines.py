"""Who does the work: the workers of a service."""

import typer

from l0core import screen
from l0core.cli import AsJson
from service.terminal.addresses import LOCAL
from service.terminal.connection import ApiKey, Url, connected
from service.terminal.tables import SERVICE, workers_table

app = typer.Typer()


@app.command(rich_help_panel=SERVICE)
def workers(url: Url = LOCAL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List the workers seen lately, and what each is at.

    Example: l0 workers
    """
    from service.terminal import calls

    with connected(url, api_key) as client:
        seen = calls.workers(client)
    if as_json:
        return screen.show_json(seen)
    return screen.show(workers_table(seen)) if seen else screen.note("no workers; `l0 worker` starts one")
