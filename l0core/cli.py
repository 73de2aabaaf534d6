"""The engine at the terminal, without a server: fit, check, schema. `l0` mounts these commands."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
import typer
from pydantic import ValidationError
from rich.console import Console

from l0core.context import EpochReport, Report, RunContext, Stopped
from l0core.errors import L0Error
from l0core.kinds import KINDS
from l0core.progress import progress_bar

app = typer.Typer(no_args_is_help=True)
_err = Console(stderr=True)
MatrixFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Sparse matrix, scipy .npz.")]
TargetsFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Targets, .npy.")]
WeightsFile = Annotated[Path | None, typer.Option("--weights", help="Design weights, .npy; 1 by default.")]


@app.command()
def fit(
    matrix: MatrixFile,
    targets: TargetsFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the result's files.")],
    weights: WeightsFile = None,
    budget: Annotated[int | None, typer.Option(help="Exact number of units to keep.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the matrix.")] = 500,
    seed: Annotated[int, typer.Option(help="Source of every random number.")] = 0,
) -> None:
    """Calibrate on this machine, in this process.

    Example: l0 fit M.npz y.npy --weights d.npy --budget 400 -o result
    """
    problem = _problem(matrix, targets, weights)
    options = _checked(record_budget=budget, epochs=epochs)
    with progress_bar("selecting", epochs, transient=True) as advance:

        def report(event: Report) -> None:
            if isinstance(event, EpochReport):
                advance(event.epoch, f"mean error {event.metrics['mean_abs_relative_error']:.3g}")

        result = _refused(lambda: KINDS["calibration"].engine()(problem, options, RunContext(seed=seed, report=report)))
    if not isinstance(result, Stopped):
        result.write(output)
        typer.echo(json.dumps(result.summary, indent=2))


@app.command()
def check(matrix: MatrixFile, targets: TargetsFile, weights: WeightsFile = None) -> None:
    """Say what is wrong or doubtful with a problem; exit code 1 where a target cannot be met.

    Example: l0 check M.npz y.npy --weights d.npy
    """
    problem = _problem(matrix, targets, weights)
    findings = [finding.model_dump() for finding in problem.findings]
    typer.echo(json.dumps({"sha256": problem.sha256, **problem.sizes, "findings": findings}, indent=2))
    raise typer.Exit(1 if any(finding["severity"] == "error" for finding in findings) else 0)


@app.command()
def schema(kind: Annotated[str, typer.Argument(help="Kind of job.")] = "calibration") -> None:
    """Print the hyperparameters of a kind of job as JSON Schema: meaning, default, range.

    Example: l0 schema calibration
    """
    if kind not in KINDS:
        _fail(f"there is no kind '{kind}'; there are {', '.join(KINDS)}")
    typer.echo(json.dumps(KINDS[kind].hyperparameters.model_json_schema(), indent=2))


def _problem(matrix: Path, targets: Path, weights: Path | None) -> Any:
    arrays: dict[str, Any] = {"matrix": sp.load_npz(matrix), "targets": np.load(targets, allow_pickle=False)}
    if weights is not None:
        arrays["initial_weights"] = np.load(weights, allow_pickle=False)
    return _refused(lambda: KINDS["calibration"].problem_type().build(**arrays))


def _checked(**values: Any) -> Any:
    try:
        return KINDS["calibration"].hyperparameters.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        _fail(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def _refused(work: Any) -> Any:
    try:
        return work()
    except L0Error as error:
        _fail(error.message)


def _fail(message: str) -> None:
    _err.print(f"[red]error:[/red] {message}", highlight=False)
    sys.exit(2)
