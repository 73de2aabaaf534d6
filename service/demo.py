"""`l0 demo`: Minnesota through the whole service, over HTTP, on this machine; then everything is stopped."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from l0core.calibration.survey import Survey, read_survey
from service.client import Client, Job
from service.client.progress import bar
from service.ending import Ending, only_loading, told_by_signals
from service.local import local_service

RECORD_BUDGET = 400
SEED = 7
_ARTIFACTS = ("report.html", "run_config.json")


def run(output: Path, console: Console) -> dict[str, Any]:
    """Start a service, calibrate Minnesota, show and write the result into `output`, stop the service.

    Gives the summary. Raises Ended, with everything stopped, where this process is told to end before that.
    """
    with only_loading():
        survey = read_survey(_example() / "households.csv.gz", _example() / "targets_spec.csv")
    with (
        told_by_signals() as ending,
        tempfile.TemporaryDirectory(prefix="l0-demo-") as folder,
        _started(Path(folder), console, ending) as url,
        Client(url) as client,
        ending.waiting(),
    ):
        job = _calibrate(client, survey, console, ending)
        console.print(_table(job.targets()))
        summary: dict[str, Any] = job.state()["summary"]
        _say(summary, console)
        _write(job, output)
    console.print(f"written to {output}/: weights.csv, {', '.join(_ARTIFACTS)}")
    console.print(f"open {(output / 'report.html').resolve().as_uri()}", soft_wrap=True)
    return summary


def _example() -> Path:
    """Give the folder of the Minnesota files: in the wheel, or in the checkout beside the package."""
    here = Path(__file__).parent
    found = [path for path in (here / "examples", here.parent / "examples") if (path / "minnesota_2022").is_dir()]
    return found[0] / "minnesota_2022"


@contextmanager
def _started(folder: Path, console: Console, ending: Ending) -> Iterator[str]:
    with ExitStack() as stack:
        with console.status("starting broker, API and worker"):
            url = stack.enter_context(local_service(folder, waiting=ending.waiting))
        console.print(f"service at {url}")
        yield url


def _calibrate(client: Client, survey: Survey, console: Console, ending: Ending) -> Job:
    problem = client.problem(
        survey.matrix(), survey.values, initial_weights=survey.weights(), target_names=survey.names
    )
    console.print(f"problem {problem['id']}: {problem['n_targets']} targets x {problem['n_units']} tax units")
    job = client.submit(problem["id"], seed=SEED, record_budget=RECORD_BUDGET)
    with bar(console=console) as show:

        def show_unless_ended(state: dict[str, Any]) -> None:
            ending.check()
            show(state)

        return job.wait(show_unless_ended)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Minnesota 2022: published totals, before and after", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("target", no_wrap=True)
    for heading in ("published", "survey", "off by", "calibrated", "off by"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        value, before, after = row["value"], row["initial_estimate"], row["estimate"]
        errors = f"{before / value - 1:+.1%}", _error(row["relative_error"])
        table.add_row(row["name"], _short(value), _short(before), errors[0], _short(after), errors[1])
    return table


def _error(share: float) -> str:
    """Give a relative error in at most seven characters.

    >>> _error(1e-9), _error(-0.0123)
    ('<0.01%', '-1.23%')
    """
    return "<0.01%" if abs(share) < 1e-4 else f"{share:+.2%}"


def _short(value: float) -> str:
    """Give a total in at most eight characters.

    >>> _short(32_357_573_000), _short(11_390)
    ('32.36bn', '11,390')
    """
    for size, unit in ((1e9, "bn"), (1e6, "m")):
        if abs(value) >= size:
            return f"{value / size:.2f}{unit}"
    return f"{value:,.0f}"


def _say(summary: dict[str, Any], console: Console) -> None:
    console.print(
        f"mean abs. relative error {summary['initial_mean_abs_relative_error']:.2%} -> "
        f"[bold]{summary['mean_abs_relative_error']:.4%}[/bold]\n"
        f"{summary['n_active']} of {summary['n_units']:,} units kept, "
        f"effective sample size {summary['effective_sample_size']:.0f}"
    )


def _write(job: Job, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "weights.csv").write_text(job.weights_csv(), encoding="utf-8")
    for name in _ARTIFACTS:
        (output / name).write_bytes(job.artifact(name))
