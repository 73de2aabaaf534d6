"""The engine at the terminal, without a server: fit, check, schema. `l0` mounts these commands.

They load the engine when they are called, so that `l0 --help` is quick.
"""

from collections.abc import Callable, Iterator, Mapping
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
CALIBRATION = "calibration"  # the kind that has arguments and options of its own
_NO_SERVICE = "Without a service"
_ANY_KIND = "Problems of any kind"
_SEVERITIES = {"error": "red", "warning": "yellow", "info": "default"}
_MOST_FINDINGS = 20

app = typer.Typer(no_args_is_help=True)
MatrixFile = Annotated[
    Path | None,
    typer.Argument(
        exists=True, dir_okay=False, help="Targets x units: .npz (scipy), .npy, .mtx or .parquet.", metavar="MATRIX"
    ),
]
TargetsFile = Annotated[
    Path | None,
    typer.Argument(exists=True, dir_okay=False, help="The totals to meet: .npy or .parquet.", metavar="TARGETS"),
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
KindName = Annotated[str, typer.Option("--kind", metavar="KIND", help="Kind of job.", rich_help_panel=_ANY_KIND)]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="FIELD=FILE",
        help="A field of the problem: a file (.npz, .npy, .mtx, .parquet, .safetensors, .json, .txt), or JSON.",
        rich_help_panel=_ANY_KIND,
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
        help="A hyperparameter; `l0 schema KIND` lists them.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


@app.command(rich_help_panel=_NO_SERVICE)
def fit(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", file_okay=False, help="Folder for the result's files.")
    ],
    matrix: MatrixFile = None,
    targets: TargetsFile = None,
    weights: WeightsFile = None,
    names: NamesFile = None,
    budget: Budget = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the data.")] = None,
    parameter: Assigned = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Source of every random number.")] = 0,
    kind: KindName = CALIBRATION,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Calibrate, or run a job of another kind, on this machine, in this process.

    Example: l0 fit M.npz y.npy --weights d.npy --budget 400 -o result

    Example: l0 fit --kind sampling -i features=X.npz -p count=500 -o result
    """
    known = known_kind(kind)
    with _refusals():
        given = given_hyperparameters(parameter, record_budget=budget, epochs=epochs)
        fields = given_fields(inputs, matrix, targets, weights, names)
        result = _run(known, _problem(known, fields), given, seed)
        files = [str(output / artifact.name) for artifact in result.write(output)]
    if as_json:
        return screen.show_json(result.summary)
    from l0core.summaries import summary_of

    screen.show(summary_of(kind, result.summary))
    return screen.note(f"written: {', '.join(files)}")


def known_kind(name: str) -> "Kind":
    """Give the kind of this name; ends where there is none."""
    with only_loading():
        from l0core.kinds import KINDS

    if name not in KINDS:
        screen.fail(f"there is no kind '{name}'; there are {', '.join(KINDS)}", USAGE)
    return KINDS[name]


def _run(kind: "Kind", problem: "Problem", given: dict[str, Any], seed: int) -> "Result":
    with only_loading():
        from l0core.context import RunContext, Stopped
        from l0core.progress import progress_bar

    options: Any = _checked(kind, given)
    with only_loading():
        engine = kind.engine()
    epochs = options.model_dump().get("epochs", 1)
    with progress_bar("running", epochs, transient=True) as advance:
        context = RunContext(seed=seed, report=_advancing(kind, epochs, advance))
        result = engine(problem, options, context)
    if isinstance(result, Stopped):
        raise TypeError("nobody has asked this run to stop")
    return result


def _advancing(kind: "Kind", epochs: int, advance: Callable[[int, str], None]) -> "Callable[[Report], None]":
    """Give what moves a bar of so many epochs, whatever the run counts in, and says where its first curve is."""
    from l0core.context import EpochReport

    def report(event: "Report") -> None:
        if isinstance(event, EpochReport):
            said = [f"{key.replace('_', ' ')} {event.metrics[key]:.3g}" for key in kind.curves if key in event.metrics]
            advance(round(epochs * event.epoch / event.epochs), "".join(said[:1]))

    return report


@app.command(rich_help_panel=_NO_SERVICE)
def check(
    matrix: MatrixFile = None,
    targets: TargetsFile = None,
    weights: WeightsFile = None,
    names: NamesFile = None,
    kind: KindName = CALIBRATION,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong or doubtful with a problem.

    The exit code is 1 where a target cannot be met.

    Example: l0 check M.npz y.npy --weights d.npy
    """
    known = known_kind(kind)
    with _refusals():
        fields = given_fields(inputs, matrix, targets, weights, names)
        problem = _problem(known, fields)
    findings = [finding.model_dump() for finding in problem.findings]
    if as_json:
        screen.show_json({"sha256": problem.sha256, **problem.sizes, "findings": findings})
    else:
        show_findings(findings)
        screen.note(f"{sizes_of(problem.sizes)}, {_count(findings)}")
    raise typer.Exit(1 if any(finding["severity"] == "error" for finding in findings) else 0)


def sizes_of(sizes: Mapping[str, int]) -> str:
    """Give the sizes of a problem in words.

    >>> sizes_of({"n_targets": 2, "n_units": 3000, "nnz": 7})
    '2 targets x 3,000 units'
    """
    return " x ".join(f"{size:,} {name[2:].replace('_', ' ')}" for name, size in sizes.items() if name.startswith("n_"))


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
    kind: Annotated[str, typer.Argument(help="Kind of job.", metavar="KIND")] = CALIBRATION, as_json: AsJson = False
) -> None:
    """List the hyperparameters of a kind of job.

    With default, range and meaning; with --json as JSON Schema.

    Example: l0 schema calibration
    """
    known = known_kind(kind)
    if as_json:
        return screen.show_json(known.hyperparameters.model_json_schema())
    columns = [screen.left("name"), screen.left("default"), _wrapped("range", most=18), _wrapped("meaning")]
    return screen.show(screen.table(columns, _schema_rows(known)))


def _wrapped(heading: str, *, most: int | None = None) -> screen.Column:
    return screen.Column(heading=heading, wraps=True, most=most)


def _schema_rows(kind: "Kind") -> Iterator[tuple[object, ...]]:
    from l0core.declared import bounds, choices, default_of, fields_of

    for name, field in fields_of(kind.hyperparameters).items():
        default = default_of(kind.hyperparameters, name)
        shown = None if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        shown = "(required)" if kind.hyperparameters.model_fields[name].is_required() else shown
        yield name, shown, ", ".join(choices(field)) or bounds(field), field["description"]


def given_hyperparameters(texts: list[str] | None, **named: Any) -> dict[str, Any]:
    """Give what `-p name=value` and the options of their own say; one that both say is refused."""
    from l0core.errors import InvalidHyperparameter

    given, options = assigned(texts or ()), {name: value for name, value in named.items() if value is not None}
    for name in options.keys() & given.keys():
        raise InvalidHyperparameter(f"{name} is given twice, by -p and by an option of its own; give it once")
    return given | options


def given_fields(
    texts: list[str] | None, matrix: Path | None, targets: Path | None, weights: Path | None, names: Path | None
) -> dict[str, Any]:
    """Give the fields of a problem: what `-i field=file` and the arguments of their own say, arrays by their paths."""
    from l0core.assignments import inputs_in
    from l0core.errors import InvalidInput
    from l0core.files import read_names

    own = {"matrix": matrix, "targets": targets, "initial_weights": weights}
    there: dict[str, Any] = {name: path for name, path in own.items() if path is not None}
    there |= {} if names is None else {"target_names": read_names(names)}
    given = inputs_in(texts or ())
    for name in there.keys() & given.keys():
        raise InvalidInput(f"{name} is given twice, by -i and by an argument of its own; give it once")
    return given | there


def _problem(kind: "Kind", given: dict[str, Any]) -> "Problem":
    with only_loading():
        from l0core.files import read_input

        problem_type = kind.problem_type()

    check_fields(kind, given)
    return problem_type.build(**{name: read_input(value) for name, value in given.items()})


def check_fields(kind: "Kind", given: dict[str, Any]) -> None:
    """Refuse fields that are not a problem's of this kind, and the lack of one that must be there."""
    from l0core.errors import InvalidInput

    fields = kind.inputs.model_fields
    for name in given.keys() - fields.keys():
        raise InvalidInput(f"a {kind.name} problem has no field '{name}'; it has {', '.join(fields)}")
    for name, field in fields.items():
        if field.is_required() and name not in given:
            how = f"; give MATRIX and TARGETS, or -i {name}=FILE" if kind.name == CALIBRATION else f": -i {name}=FILE"
            raise InvalidInput(f"a {kind.name} problem needs {name}{how}")


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
