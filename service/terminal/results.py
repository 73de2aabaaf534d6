"""Out of the service: weights, the fit of every target, totals of other matrices, files."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from l0core import screen
from l0core.cli import AsJson
from l0core.screen import left, percent, right, short, signed_percent, table
from service.terminal import ends
from service.terminal.addresses import LOCAL
from service.terminal.connection import ApiKey, JobId, Url, connected
from service.terminal.tables import RESULTS

app = typer.Typer()
_FORMATS = ("csv", "npy", "parquet", "arrow", "json")
_BY_SUFFIX = {**{f".{name}": name for name in _FORMATS}, ".feather": "arrow"}
_BINARY = ("npy", "parquet", "arrow")
Checkpoint = Annotated[
    str | None, typer.Option(help="latest, or a checkpoint's id: what a job had, whatever became of it.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", dir_okay=False, metavar="FILE", help="File to write.")]


@app.command(rich_help_panel=RESULTS)
def weights(
    job: JobId,
    output: Output = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"{', '.join(_FORMATS)}; by default what the file's name ends in, else csv.",
        ),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Of all units, zeros too, not only those kept.")] = False,
    checkpoint: Checkpoint = None,
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the calibrated weights of the units that are kept.

    Example: l0 weights job_01k... -o weights.csv

    Example: l0 weights job_01k... --all --format npy -o weights.npy
    """
    from service.terminal import calls

    chosen = _format(output, format_, as_json=as_json)
    query = {"format": chosen, "active_only": not everyone}
    with connected(url, api_key) as client:
        content = calls.weights(client, job, query | ({} if checkpoint is None else {"checkpoint": checkpoint}))
    _deliver(content, output, {"format": chosen}, as_json=as_json)


@app.command("table", rich_help_panel=RESULTS)
def table_of(
    job: JobId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, such as selection.")],
    output: Output = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help=f"{', '.join(_FORMATS)}; else as for weights.")
    ] = None,
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a table of a result.

    Example: l0 table job_01k... selection -o selection.csv
    """
    from service.terminal import calls

    chosen = _format(output, format_, as_json=as_json)
    with connected(url, api_key) as client:
        content = calls.table(client, job, name, {"format": chosen})
    _deliver(content, output, {"format": chosen}, as_json=as_json)


def _format(output: Path | None, asked: str | None, *, as_json: bool) -> str:
    """Give the format that is asked for by name, by the file's suffix, or by --json."""
    if asked is not None and asked not in _FORMATS:
        ends.wrong_usage(f"there is no format '{asked}'; there are {', '.join(_FORMATS)}")
    if output is None:
        if asked in _BINARY and (as_json or sys.stdout.isatty()):
            ends.wrong_usage(f"{asked} is no text; name a file with -o")
        return "json" if as_json else asked or "csv"
    if asked is None and output.suffix.lower() not in _BY_SUFFIX:
        ends.wrong_usage(f"'{output}' does not tell the format; name one with --format: {', '.join(_FORMATS)}")
    return asked or _BY_SUFFIX[output.suffix.lower()]


def _deliver(content: bytes, output: Path | None, about: dict[str, Any], *, as_json: bool) -> None:
    """Write what was fetched to its file, or to standard output."""
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return None
    _write(output, content)
    if as_json:
        return screen.show_json({"path": str(output), "size_bytes": len(content), **about})
    return _told(str(output), len(content))


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        screen.fail(f"{path} cannot be written: {error.strerror}; name another file with -o")


def _told(path: str, size_bytes: int) -> None:
    screen.note(f"written: {path}, {size_bytes:,} bytes")


@app.command(rich_help_panel=RESULTS)
def targets(
    job: JobId,
    sort: Annotated[
        str, typer.Option(help="A column, with - for descending: index, name, value, estimate, relative_error, ...")
    ] = "-abs_relative_error",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most targets to list.")] = 50,
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List how well the targets are met, the worst first.

    Example: l0 targets job_01k... --sort name --limit 1000
    """
    from service.terminal import calls

    with connected(url, api_key) as client:
        rows, more = calls.targets(client, job, sort, limit)
    if as_json:
        return screen.show_json(rows)
    headings = [left("target"), *map(right, ("total", "before", "off by", "after", "off by"))]
    screen.show(table(headings, map(_target_row, rows)))
    return screen.note(f"the first {limit}; --limit {10 * limit} shows more") if more else None


def _target_row(row: dict[str, Any]) -> tuple[object, ...]:
    value, before = row["value"], row["initial_estimate"]
    off = signed_percent((before - value) / abs(value)) if value else "-"
    name = f"{row['name']} (held out)" if row["holdout"] else row["name"]
    return name, short(value), short(before), off, short(row["estimate"]), signed_percent(row["relative_error"])


@app.command(rich_help_panel=RESULTS)
def compare(
    a: JobId,
    b: JobId,
    limit: Annotated[int, typer.Option(min=0, max=1000, metavar="N", help="Most targets to list.")] = 20,
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Compare two results on the targets that both have.

    Example: l0 compare job_01k... job_01m...
    """
    from service.terminal import calls

    with connected(url, api_key) as client:
        found = calls.compare(client, a, b, limit)
    if as_json:
        return screen.show_json(found)
    counts = ", ".join(f"{found[name]:,} {name}" for name in ("improved", "regressed", "unchanged"))
    screen.note(f"{found['common']:,} targets in common: {counts}")
    screen.show(table([left("error"), right("first"), right("second")], _both(found)))
    if found["largest_changes"]:
        headings = [left("largest changes"), right("total"), right("off by"), right("then"), right("change")]
        screen.show(table(headings, map(_change_row, found["largest_changes"])))
    return None


def _both(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    names = {"mean abs. relative error": "mean_abs_relative_error", "largest": "max_abs_relative_error"}
    return [(name, percent(found[key]["a"]), percent(found[key]["b"])) for name, key in names.items()]


def _change_row(row: dict[str, Any]) -> tuple[object, ...]:
    errors = percent(row["abs_relative_error_a"]), percent(row["abs_relative_error_b"])
    return row["name"], short(row["value_b"]), *errors, signed_percent(row["change"])


@app.command(rich_help_panel=RESULTS)
def predict(
    job: JobId,
    matrix: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, metavar="FILE", help="Totals x units, of any other totals; or features."
        ),
    ],
    checkpoint: Checkpoint = None,
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Give the calibrated totals of another matrix over the same units, or a network's outputs for other features.

    A line is a row of the file, in its order.

    Example: l0 predict job_01k... counties.npz
    """
    from service.terminal import calls
    from service.terminal.submitting import uploaded

    with connected(url, api_key) as client:
        values = calls.predictions(client, job, uploaded(client, matrix)["id"], checkpoint)
    if as_json:
        return screen.show_json({"values": values})
    return screen.show_text("\n".join(map(_line, values)))


def _line(value: Any) -> str:
    """Give a number, or a row of them."""
    return ",".join(map(repr, value)) if isinstance(value, list) else repr(value)


@app.command(rich_help_panel=RESULTS)
def download(
    job: JobId,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Files to fetch.")] = None,
    folder: Annotated[Path, typer.Option("--folder", "-d", file_okay=False, help="Where they are written.")] = Path(),
    url: Url = LOCAL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Fetch files of a result; without names, list those there are.

    Example: l0 download job_01k...

    Example: l0 download job_01k... report.html unified_diagnostics.csv -d result
    """
    from service.terminal import calls

    with connected(url, api_key) as client:
        held = {file["name"]: file for file in calls.artifacts(client, job)}
        if not names:
            return _list_files(list(held.values()), as_json=as_json)
        if unknown := [name for name in names if name not in held]:
            there = f"there are {', '.join(held)}" if held else "the job has left no files"
            screen.fail(f"there is no file '{unknown[0]}'; {there}", ends.Exit.NOT_FOUND)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            _write(folder / name, calls.artifact(client, job, name))
    if as_json:
        return screen.show_json([{"path": str(folder / name), **held[name]} for name in names])
    for name in names:
        _told(str(folder / name), held[name]["size_bytes"])
    return None


def _list_files(files: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        return screen.show_json(files)
    if not files:
        return screen.note("the job has left no files")
    rows = ((file["name"], f"{file['size_bytes']:,}", file["content_type"]) for file in files)
    return screen.show(table([left("name"), right("bytes"), left("type")], rows))
