"""Which service a command talks to, and what is said where it does not answer."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from service.ending import only_loading
from service.terminal import ends
from service.terminal.addresses import KEY_VARIABLE, LOCAL, URL_VARIABLE, is_address
from service.terminal.completion import job_ids

if TYPE_CHECKING:
    from service.client import Client

_TRIES, _PAUSE_SECONDS = 3, 0.2  # whoever types is told soon that nobody answers
_PANEL = "Service"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _checked_url(context: typer.Context, text: str) -> str:
    if not context.resilient_parsing and not is_address(text):
        ends.wrong_usage(f"'{text}' is no address of a service; write it as {LOCAL}")
    return text


def _checked_id(context: typer.Context, text: str) -> str:
    if not context.resilient_parsing and not _ID.fullmatch(text):
        ends.wrong_usage(f"'{text}' is no id; `l0 jobs` lists the jobs there are")
    return text


def _job_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return job_ids(context.params, incomplete)


Url = Annotated[
    str,
    typer.Option(
        "--url", envvar=URL_VARIABLE, callback=_checked_url, metavar="URL", help="Address.", rich_help_panel=_PANEL
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar=KEY_VARIABLE, metavar="KEY", help="Yours, where it asks for one.", rich_help_panel=_PANEL
    ),
]
JobId = Annotated[
    str,
    typer.Argument(
        metavar="JOB", callback=_checked_id, autocompletion=_job_ids, help="Id of a job, as `l0 jobs` lists it."
    ),
]


@contextmanager
def connected(url: str, api_key: str | None) -> Iterator["Client"]:
    """Give a client of the service; whatever goes wrong in here ends the command with one sentence."""
    with only_loading():
        from httpx import TransportError

        from l0core.errors import L0Error
        from service.client import Client, ClientError, Patience

    patience = Patience(tries=_TRIES, first_seconds=_PAUSE_SECONDS)
    try:
        with Client(url, api_key=api_key, patience=patience) as client:
            yield client
    except ClientError as error:
        ends.refused(error)
    except TransportError as error:
        ends.unreachable(url, error)
    except L0Error as error:
        ends.wrong_usage(error.message)
