"""Minnesota at 50 to 800 units: error in the fit, error on families left out, effective sample size, beside baselines.

    python benchmarks/frontier.py

The 29 totals are of five families (returns by AGI, AGI, EITC, people, SNAP). Each is left out whole once and the
calibration is fitted to the rest; the left-out error is the mean over all 29 totals so left out. Random subsets: the
mean of five draws. Every choice of units is refitted alike.
"""

import statistics
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import report
from numpy.typing import NDArray

from l0core.calibration.baselines import baseline
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.rotation import rotated_holdout
from l0core.calibration.run import run
from l0core.calibration.survey import read_survey
from l0core.context import RunContext
from l0core.plots import Curve, line_chart

Floats = NDArray[np.float64]
Fit = Callable[[CalibrationProblem], Floats]
ROOT = Path(__file__).parents[1]
COUNTS = (50, 100, 200, 400, 800)
DRAWS = range(5)
SHOWN = {"gates": "gates", "matching pursuit": "pursuit", "random + refit": "random", "proximal L1 + refit": "L1"}


def main() -> None:
    """Measure, print, keep, draw."""
    problem, families = _minnesota()
    rows: list[str] = []
    left_out: dict[str, list[float]] = {}
    for name, fits in _methods():
        for count, each in fits:
            fitted, apart, size, units = _numbers(problem, families, each)
            left_out.setdefault(name, []).append(100 * apart)
            rows.append(f"| {name} | {count or units:,} | {fitted:.3%} | {apart:.1%} | {size:,.0f} |")
    survey = statistics.fmean(np.abs(problem.relative_errors(problem.estimates(problem.design_weights))))
    design = problem.design_weights
    rows.append(f"| the survey's own weights | {design.size:,} | {survey:.3%} | {survey:.1%} | "
                f"{design.sum() ** 2 / (design @ design):,.0f} |")  # fmt: skip
    head = "| units chosen by | units | mean error in the fit | on left-out families | effective sample size |"
    body = [(__doc__ or "").split("\n\n", 2)[2], head, "|---|---|---|---|---|", *rows, ""]
    report.keep("frontier", "The frontier of Minnesota", "\n".join(body))
    curves = [Curve(name=short, steps=list(COUNTS), values=left_out[name]) for name, short in SHOWN.items()]
    drawn = line_chart(curves, title="Error on left-out families, %", over="unit")
    (ROOT / "docs" / "images" / "minnesota_frontier.svg").write_text(drawn, encoding="utf-8")


def _minnesota() -> tuple[CalibrationProblem, list[str]]:
    folder = ROOT / "examples" / "minnesota_2022"
    survey = read_survey(folder / "households.csv.gz", folder / "targets_spec.csv")
    problem = CalibrationProblem.build(
        survey.matrix(), survey.values, initial_weights=survey.weights(), target_names=survey.names
    )
    return problem, [_family(name) for name in survey.names]


def _family(name: str) -> str:
    if name.startswith("returns with AGI"):
        return "returns"
    first = "eitc" if "eitc" in name else name.split(maxsplit=1)[0]
    return "people" if first == "population" else first


def _methods() -> Iterable[tuple[str, list[tuple[int | None, list[Fit]]]]]:
    yield "gates", [(k, [partial(_ours, k, {"selector": "gates"})]) for k in COUNTS]
    spread = {"selector": "gates", "lambda_spread": 0.01}
    yield "gates, lambda_spread 0.01", [(k, [partial(_ours, k, spread)]) for k in COUNTS]
    yield "matching pursuit", [(k, [partial(_ours, k, {"selector": "matching_pursuit"})]) for k in COUNTS]
    yield "random + refit", [(k, [partial(_baseline, "random", k, seed) for seed in DRAWS]) for k in COUNTS]
    yield "PPS of dense weights + refit", [(k, [partial(_baseline, "pps_refit", k, s) for s in DRAWS]) for k in COUNTS]
    yield "proximal L1 + refit", [(k, [partial(_baseline, "proximal_l1", k, 0)]) for k in COUNTS]
    yield "all units (dense)", [(None, [partial(_baseline, "dense", None, 0)])]
    yield "a vertex (NNLS)", [(None, [partial(_baseline, "vertex", None, 0)])]


def _ours(count: int, settings: dict[str, object], problem: CalibrationProblem) -> Floats:
    options = CalibrationHyperparameters.model_validate({"record_budget": count, **settings})
    found = run(problem, options, RunContext(seed=1))
    if not isinstance(found, CalibrationResult):
        raise TypeError(f"a run that nobody stops ended as {found}")
    return found.weights


def _baseline(method: str, count: int | None, seed: int, problem: CalibrationProblem) -> Floats:
    return baseline(problem, method, count=count, seed=seed).weights


def _numbers(problem: CalibrationProblem, families: list[str], fits: list[Fit]) -> tuple[float, float, float, int]:
    """Give error in the fit, error left out, effective sample size and units, each the mean over the fits."""
    weights = [fit(problem) for fit in fits]
    fitted = [float(np.abs(problem.relative_errors(problem.estimates(w))).mean()) for w in weights]
    apart = [
        float(
            np.mean(
                np.concatenate(
                    [np.abs(r.relative_errors) for r in rotated_holdout(problem, families=families, fit=fit)]
                )
            )
        )
        for fit in fits
    ]
    sizes = [float(w.sum() ** 2 / (w @ w)) for w in weights]
    return statistics.fmean(fitted), statistics.fmean(apart), statistics.fmean(sizes), int((weights[0] > 0).sum())


if __name__ == "__main__":
    main()
