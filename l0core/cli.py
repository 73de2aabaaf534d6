"""The engine at the terminal, without a server: fit, check, schema. `l0` mounts these commands.

They load the engine when they are called, so that `l0 --help` is quick.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from l0core import screen
from l0core.assignments import assigned, completed
from l0core.loading import only_loading

if TYPE_CHECKING:
    from l0core.context import Report
    from l0core.kind import Kind, Problem, Result

USAGE = 2  # the exit code of what cannot be run as it is asked for
_NO_SERVICE = "Without a service"
_SEVERITIES = {"error": "red", "warning": "yellow", "info": "default"}
_MOST_FINDINGS = 20

app = typer.Typer(no_args_is_help=True)
MatrixFile = Annotated[
    Path,
    typer.Argument(
        exists=True, dir_okay=False, help="Targets x units: .npz (scipy), .npy, .mtx or .parquet.", metavar="MATRIX"
    ),
]
TargetsFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="The totals to meet: .npy or .parquet.", metavar="TARGETS")
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
        help="The survey's weights: .npy or .parquet; 1 by default.",
    ),
]
NamesFile = Annotated[
    Path | None,
    typer.Option(
        "--names", metavar="FILE", exists=True, dir_okay=False, help="The targets' names: a text, one a line."
    ),
]
Budget = Annotated[int | None, typer.Option("--budget", min=1, metavar="N", help="Exact number of units to keep.")]
Assigned = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME=VALUE",
        autocompletion=lambda incomplete: list(completed(incomplete)),
        help="A hyperparameter; `l0 schema calibration` lists them.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


@app.command(rich_help_panel=_NO_SERVICE)
def fit(
    matrix: MatrixFile,
    targets: TargetsFile,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", file_okay=False, help="Folder for the result's files.")
    ],
    weights: WeightsFile = None,
    names: NamesFile = None,
    budget: Budget = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the matrix; 500 by default.")] = None,
    parameter: Assigned = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Source of every random number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Calibrate on this machine, in this process.

    Example: l0 fit M.npz y.npy --weights d.npy --budget 400 -o result
    """
    with _refusals():
        given = given_hyperparameters(parameter, record_budget=budget, epochs=epochs)
        result = _run(_problem(matrix, targets, weights, names), given, seed)
        files = [str(output / artifact.name) for artifact in result.write(output)]
    if as_json:
        return screen.show_json(result.summary)
    from l0core.summaries import summary_table

    screen.show(summary_table(result.summary))
    return screen.note(f"written: {', '.join(files)}")


def _run(problem: "Problem", given: dict[str, Any], seed: int) -> "Result":
    with only_loading():
        from l0core.context import RunContext, Stopped
        from l0core.kinds import KINDS
        from l0core.progress import progress_bar

    kind = KINDS["calibration"]
    options: Any = _checked(kind, given)
    with only_loading():
        engine = kind.engine()
    with progress_bar("selecting", options.epochs, transient=True) as advance:
        context = RunContext(seed=seed, report=_advancing(advance))
        result = engine(problem, options, context)
    if isinstance(result, Stopped):
        raise TypeError("nobody has asked this run to stop")
    return result


def _advancing(advance: Callable[[int, str], None]) -> "Callable[[Report], None]":
    from l0core.context import EpochReport

    def report(event: "Report") -> None:
        if isinstance(event, EpochReport):
            advance(event.epoch, f"mean error {event.metrics['mean_abs_relative_error']:.3g}")

    return report


@app.command(rich_help_panel=_NO_SERVICE)
def check(
    matrix: MatrixFile,
    targets: TargetsFile,
    weights: WeightsFile = None,
    names: NamesFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong or doubtful with a problem.

    The exit code is 1 where a target cannot be met.

    Example: l0 check M.npz y.npy --weights d.npy
    """
    with _refusals():
        problem = _problem(matrix, targets, weights, names)
    findings = [finding.model_dump() for finding in problem.findings]
    if as_json:
        screen.show_json({"sha256": problem.sha256, **problem.sizes, "findings": findings})
    else:
        show_findings(findings)
        screen.note(f"{problem.sizes['n_targets']:,} targets x {problem.sizes['n_units']:,} units, {_count(findings)}")
    raise typer.Exit(1 if any(finding["severity"] == "error" for finding in findings) else 0)


def show_findings(findings: list[dict[str, Any]]) -> None:
    """Print what is wrong or doubtful, a row a finding."""
    if findings:
        columns = [screen.left("severity"), screen.left("code"), screen.Column(heading="what", wraps=True)]
        screen.show(screen.table(columns, map(_finding_row, findings)))


def _finding_row(finding: dict[str, Any]) -> tuple[object, ...]:
    from rich.text import Text

    severity = finding["severity"]
    return Text(severity, style=_SEVERITIES.get(severity, "default")), finding["code"], finding["message"]


def _count(findings: list[dict[str, Any]]) -> str:
    counts = {severity: sum(each["severity"] == severity for each in findings) for severity in _SEVERITIES}
    said = [f"{count} of severity {severity}" for severity, count in counts.items() if count]
    return f"findings: {', '.join(said)}" if said else "no findings"


@app.command(rich_help_panel=_NO_SERVICE)
def schema(
    kind: Annotated[str, typer.Argument(help="Kind of job.", metavar="KIND")] = "calibration", as_json: AsJson = False
) -> None:
    """List the hyperparameters of a kind of job.

    With default, range and meaning; with --json as JSON Schema.

    Example: l0 schema calibration
    """
    with only_loading():
        from l0core.kinds import KINDS

    if kind not in KINDS:
        screen.fail(f"there is no kind '{kind}'; there are {', '.join(KINDS)}", USAGE)
    if as_json:
        return screen.show_json(KINDS[kind].hyperparameters.model_json_schema())
    columns = [screen.left("name"), screen.left("default"), _wrapped("range", most=18), _wrapped("meaning")]
    return screen.show(screen.table(columns, _schema_rows(KINDS[kind])))


def _wrapped(heading: str, *, most: int | None = None) -> screen.Column:
    return screen.Column(heading=heading, wraps=True, most=most)


def _schema_rows(kind: "Kind") -> Iterator[tuple[object, ...]]:
    from l0core.declared import bounds, choices, default_of, fields_of

    for name, field in fields_of(kind.hyperparameters).items():
        default = default_of(kind.hyperparameters, name)
        shown = None if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        yield name, shown, ", ".join(choices(field)) or bounds(field), field["description"]


def given_hyperparameters(texts: list[str] | None, **named: Any) -> dict[str, Any]:
    """Give what `-p name=value` and the options of their own say; one that both say is refused."""
    from l0core.errors import InvalidHyperparameter

    given, options = assigned(texts or ()), {name: value for name, value in named.items() if value is not None}
    for name in options.keys() & given.keys():
        raise InvalidHyperparameter(f"{name} is given twice, by -p and by an option of its own; give it once")
    return given | options


def _problem(matrix: Path, targets: Path, weights: Path | None, names: Path | None) -> "Problem":
    with only_loading():
        from l0core.files import read_matrix, read_names, read_vector
        from l0core.kinds import KINDS

        problem_type = KINDS["calibration"].problem_type()

    arrays: dict[str, Any] = {"matrix": read_matrix(matrix), "targets": read_vector(targets)}
    arrays |= {} if weights is None else {"initial_weights": read_vector(weights)}
    arrays |= {} if names is None else {"target_names": read_names(names)}
    return problem_type.build(**arrays)


def _checked(kind: "Kind", given: dict[str, Any]) -> Any:
    import json

    from pydantic import ValidationError

    from l0core.errors import InvalidHyperparameter

    try:
        return kind.hyperparameters.model_validate_json(json.dumps(given))
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidHyperparameter(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@contextmanager
def _refusals() -> Iterator[None]:
    """End with the sentence of whatever the engine refuses."""
    from l0core.errors import L0Error

    try:
        yield
    except L0Error as error:
        screen.fail(error.message, USAGE)
