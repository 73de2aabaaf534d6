"""Into the service: a file, a problem, a job."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from l0core import screen
from l0core.cli import (
    CALIBRATION,
    AsJson,
    Assigned,
    Budget,
    Inputs,
    KindName,
    NamesFile,
    check_fields,
    given_fields,
    given_hyperparameters,
    known_kind,
    sizes_of,
)
from service.terminal import ends
from service.terminal.addresses import LOCAL
from service.terminal.connection import ApiKey, Url, connected
from service.terminal.tables import JOBS

if TYPE_CHECKING:
    from service.client import Client
    from service.terminal.calls import Sent

app = typer.Typer()
_RUN = "How it runs"
_MOST_FINDINGS = 10
_NO_PROBLEM = (
    "give MATRIX and TARGETS, or --problem with the id of one that is there, or --kind and the fields of its problem, "
    "each by -i FIELD=FILE"
)
_FORMATS = ".npz, .npy, .mtx, .parquet or .safetensors, also with .gz or .zst"
MatrixFile = Annotated[
    Path | None, typer.Argument(exists=True, dir_okay=False, metavar="MATRIX", help=f"Targets x units: {_FORMATS}.")
]
TargetsFile = Annotated[
    Path | None, typer.Argument(exists=True, dir_okay=False, metavar="TARGETS", help="The totals to meet: .npy, ...")
]
WeightsFile = Annotated[
    Path | None,
    typer.Option(
        "--initial-weights",
        "--weights",
        "-w",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="The survey's weights: .npy, ...; 1 by default.",
    ),
]


@app.command(rich_help_panel=JOBS)
def submit(
    matrix: MatrixFile = None,
    targets: TargetsFile = None,
    weights: WeightsFile = None,
    names: NamesFile = None,
    problem: Annotated[
        str | None, typer.Option(metavar="ID", help="A problem that is there, in place of files.")
    ] = None,
    budget: Budget = None,
    kind: KindName = CALIBRATION,
    inputs: Inputs = None,
    parameter: Assigned = None,
    params: Annotated[
        Path | None,
        typer.Option("--params", metavar="FILE", exists=True, dir_okay=False, help="Hyperparameters as a JSON object."),
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="A label of yours.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show the job until it has ended, as `l0 watch` does.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Source of every random number.", rich_help_panel=_RUN)
    ] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.", rich_help_panel=_RUN)] = "auto",
    resume_from: Annotated[
        str | None,
        typer.Option(metavar="JOB", help="Begin where this job stood; JOB:CHECKPOINT for one.", rich_help_panel=_RUN),
    ] = None,
    log_every: Annotated[
        int | None, typer.Option(metavar="N", help="Epochs between two points.", rich_help_panel=_RUN)
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(metavar="N", help="Epochs between two checkpoints.", rich_help_panel=_RUN)
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="It fails unless it has ended by then.", rich_help_panel=_RUN),
    ] = None,
    max_attempts: Annotated[
        int | None,
        typer.Option(metavar="N", help="How many workers may die on it; 3 by default.", rich_help_panel=_RUN),
    ] = None,
    webhook_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Who is told of its end.", rich_help_panel=_RUN)
    ] = None,
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Send a problem and submit its calibration, or a job of another kind; prints the job's id.

    Example: l0 submit M.npz y.npy --weights d.npy --budget 400 --wait

    Example: l0 submit --problem prb_... -p epochs=1000 --tag area=MN

    Example: l0 submit --kind sampling -i features=X.npz -p count=500
    """
    from service.terminal import calls

    files = (matrix, targets, weights, names)
    is_given = inputs is not None or (matrix is not None and targets is not None)
    if (problem is None) != is_given or (problem is not None and any(files)):
        ends.wrong_usage(_NO_PROBLEM)
    with connected(url, api_key) as client:
        fields = given_fields(inputs, *files)
        if problem is None:
            check_fields(known_kind(kind), fields)
        given = _from_file(params) | given_hyperparameters(parameter, record_budget=budget)
        calls.check_names(client, kind, given)
        asked = {
            "hyperparameters": given,
            "seed": seed,
            "device": device,
            "tags": calls.tags(tag or ()),
            "log_every": log_every,
            "checkpoint_every": checkpoint_every,
            "deadline_seconds": deadline,
            "max_attempts": max_attempts,
            "webhook_url": webhook_url,
            "resume_from": _resumed(resume_from),
        }
        problem_id = problem or _registered(client, kind, fields)
        said = {name: value for name, value in asked.items() if value is not None}
        job = calls.submit(client, {"kind": kind, "problem_id": problem_id, **said})
        if wait:
            return _waited(client, job, as_json=as_json)
    return _submitted(job, as_json=as_json)


def _waited(client: "Client", job: dict[str, Any], *, as_json: bool) -> None:
    from service.terminal.jobs import ended
    from service.terminal.watching import followed

    screen.note(f"{job['id']}")
    last = followed(client, job["id"], lambda _: None)
    if as_json:
        screen.show_json(last)
    ended(last, as_json=as_json)


def _submitted(job: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return screen.show_json(job)
    screen.show_text(job["id"])
    return screen.note(f"{job['stage'].replace('_', ' ')} on {job['device']}; follow it with: l0 watch {job['id']}")


@app.command(rich_help_panel=JOBS)
def upload(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE", help=f"{_FORMATS}.")],
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Send a file to be used in problems; prints the upload's id.

    Example: l0 upload M.npz
    """
    with connected(url, api_key) as client:
        sent = uploaded(client, file)
    return screen.show_json(sent) if as_json else screen.show_text(sent["id"])


def _registered(client: "Client", kind: str, fields: dict[str, Any]) -> str:
    """Send the files and give the id of the problem they make."""
    from service.terminal import calls

    for value in fields.values():
        if isinstance(value, Path):
            calls.type_headers(value)  # a name that tells no format is refused before anything is sent
    sent = {name: _sent(client, value) for name, value in fields.items()}
    problem = calls.problem(client, {"kind": kind, **sent})
    screen.note(f"problem {problem['id']}: {sizes_of(problem)}")
    for finding in problem["findings"][:_MOST_FINDINGS]:
        screen.note(f"{finding['severity']}: {screen.printable(finding['message'])}")
    more = len(problem["findings"]) - _MOST_FINDINGS
    if more > 0:
        screen.note(f"{more} more findings; `l0 check` lists them")
    return str(problem["id"])


def _sent(client: "Client", value: Any) -> Any:
    """Give a field as a body has it: a file is sent, and so is a long list of texts."""
    from service.terminal import calls

    if isinstance(value, Path):
        return {"upload_id": uploaded(client, value)["id"]}
    return calls.names(client, value) if isinstance(value, list) and value and isinstance(value[0], str) else value


def uploaded(client: "Client", path: Path) -> dict[str, Any]:
    """Send a file with a progress bar; gives the upload."""
    from service.terminal import calls

    with _sending(path) as sent:
        return calls.upload(client, path, sent)


@contextmanager
def _sending(path: Path) -> Iterator["Sent"]:
    """Show a bar at a terminal while a file is on its way; gives what tells how many bytes are."""
    console = screen.screen(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"sending {screen.printable(path.name)}", total=path.stat().st_size)
        yield lambda done: bar.update(task, completed=done)


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        ends.wrong_usage(f"{path} holds no JSON: {error}")
    if not isinstance(given, dict):
        ends.wrong_usage(f'{path} holds no JSON object; write it as {{"epochs": 1000}}')
    return given


def _resumed(text: str | None) -> dict[str, str] | None:
    """Give what `JOB` or `JOB:CHECKPOINT` says.

    >>> _resumed("job_1:ckp_2"), _resumed("job_1")
    ({'job_id': 'job_1', 'checkpoint': 'ckp_2'}, {'job_id': 'job_1', 'checkpoint': 'latest'})
    """
    if text is None:
        return None
    job_id, _, checkpoint = text.partition(":")
    return {"job_id": job_id, "checkpoint": checkpoint or "latest"}
