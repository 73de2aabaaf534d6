"""How well 500 of Minnesota's 5,460 units, and 20 of 1,000 columns, stand for the whole, beside random draws and Lasso.

    python benchmarks/sampling.py

Units: the columns are what each tax unit contributes to 29 totals, of five families (returns by AGI, AGI, EITC, people,
SNAP); what is to be reproduced are their totals over all units. Each family is left out whole once, and once none is.
The error is the mean absolute relative error over all 29 totals, left-out ones included. Against it stand fifty
stratified draws (ten classes along the first principal component of the columns in the fit; and ten classes of
adjusted gross income, a stratum an expert would take) and fifty random ones, each reweighted by the same refit to the
same totals of columns; and ten of each reweighted to the totals of coverage too ("with coverage"). Figures are the
median of our three seeds over the median of the draws: below 1 is better than the median draw. How a sample is made was
chosen by looking at these same families, and at no other data set: the figures flatter us by that much.

Chance: of a hybrid sample of Minnesota the random part is drawn a thousand times; the means of its 29 Horvitz-Thompson
totals are so many standard errors from the totals of the whole.

Columns: 1,000 columns of 500 units, neighbours correlated by 0.7, of which 20 make the outcome, with coefficients of
either sign from 0.5 to 1.5 and noise at three strengths; recall is the share of the 20 among the 20 chosen, the mean of
ten problems. Lasso is scikit-learn's path, at the price that leaves exactly 20 (or the 20 largest at the first that
leaves more). Gates are `SparseL0Linear`, its price halved in its logarithm until 20 are open, on three of the problems.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import report
from numpy.typing import NDArray
from sklearn.linear_model import lars_path

from l0core.calibration.survey import read_survey
from l0core.context import RunContext
from l0core.sampling.chances import with_random
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.result import FeaturesResult, SampleResult
from l0core.sampling.run import run
from l0core.sampling.samples import held_against
from l0core.sparse import SparseL0Linear

Floats = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
UNITS, DRAWS, COVERED_DRAWS, SEEDS = 500, 50, 10, (1, 2, 3)
PROBLEMS, BY_GATES, TRUE = 10, 3, 20
REDRAWN = 1_000
SIGNALS = (0.5, 1.0, 3.0)


def main() -> None:
    """Measure, print, keep."""
    told = (__doc__ or "").split("\n\n", 2)[2]
    body = [told, *_units(), "", _chance(), "", *_columns(), ""]
    report.keep("sampling", "Units and columns that stand for the whole", "\n".join(body))


# --- units


def _units() -> Iterator[str]:
    problem, families, income = _minnesota()
    yield (
        "| left out | mode | error, seeds 1 to 3 | over stratified | by income | random | with coverage: stratified "
        "| by income | random | effective sample size |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for family in (*dict.fromkeys(families), None):
        held_out = replace(problem, holdout=np.array([each == family for each in families]))
        medians = list(_medians(held_out, income))
        for mode in ("samples", "hybrid"):
            yield _row(held_out, family or "none", mode, medians)


def _row(problem: SamplingProblem, name: str, mode: str, medians: list[float]) -> str:
    options = SamplingHyperparameters.model_validate({"mode": mode, "count": UNITS, "comparisons": 0})
    results = [_sampled(problem, options, seed) for seed in SEEDS]
    errors = [result.representation.everywhere for result in results]
    shares = [np.median(errors) / median if median > 1e-9 else np.nan for median in medians]
    size = np.median([result.summary["effective_sample_size"] for result in results])
    sys.stderr.write(f"{name} {mode} {errors} {shares}\n")
    written = " | ".join("–" if np.isnan(share) else f"{share:.2f}" for share in shares)
    return f"| {name} | {mode} | {', '.join(f'{error:.2%}' for error in errors)} | {written} | {size:,.0f} |"


def _medians(problem: SamplingProblem, income: NDArray[np.int64]) -> Iterator[float]:
    """Give the median errors of the draws: stratified, by income, random, reweighted to our totals and to columns."""
    for coverage in (0, None):
        draws = DRAWS if coverage == 0 else COVERED_DRAWS
        options = SamplingHyperparameters(count=UNITS, comparisons=draws, coverage=coverage)
        context = RunContext(seed=SEEDS[0])
        own = {each.name: each for each in held_against(problem, options, context)}
        by_income = {each.name: each for each in held_against(replace(problem, strata=income), options, context)}
        for comparison in (own["stratified"], by_income["stratified"], own["random"]):
            yield comparison.median("mean_abs_relative_error") or 0.0


def _sampled(problem: SamplingProblem, options: SamplingHyperparameters, seed: int) -> SampleResult:
    result = run(problem, options, RunContext(seed=seed))
    if not isinstance(result, SampleResult) or result.summary["n_active"] != UNITS:
        raise TypeError(f"a run that nobody stops ended as {result}")
    return result


def _minnesota() -> tuple[SamplingProblem, list[str], NDArray[np.int64]]:
    folder = ROOT / "examples" / "minnesota_2022"
    survey = read_survey(folder / "households.csv.gz", folder / "targets_spec.csv")
    problem = SamplingProblem.build(survey.matrix().T, initial_weights=survey.weights(), column_names=survey.names)
    income = np.asarray(survey.units["agi"], dtype=np.float64)
    classes = np.digitize(income, np.unique(np.quantile(income, np.arange(1, 10) / 10)))
    return problem, [_family(name) for name in survey.names], classes.astype(np.int64)


def _family(name: str) -> str:
    first = "eitc" if "eitc" in name else name.split(maxsplit=1)[0]
    return {"population": "people"}.get(first, first)


# --- chance


def _chance() -> str:
    problem, _, _ = _minnesota()
    options = SamplingHyperparameters.model_validate({"mode": "hybrid", "count": UNITS, "comparisons": 0})
    sample = _sampled(problem, options, SEEDS[0]).sample
    by_selection, rng = sample.units[~sample.random], np.random.default_rng(SEEDS[0])
    totals = []
    for _ in range(REDRAWN):
        drawn = with_random(by_selection, problem.design_weights, int(sample.random.sum()), rng)
        totals.append(problem.features[drawn.units].T @ drawn.expanded(problem.design_weights))
    spread = np.std(totals, axis=0, ddof=1) / np.sqrt(REDRAWN)
    away = np.sort(np.abs(np.mean(totals, axis=0) - problem.whole) / spread)
    share = np.median(spread * np.sqrt(REDRAWN) / problem.whole)
    return (
        f"Chance: {by_selection.size} units by the selection, {sample.random.sum()} by chance, {REDRAWN:,} draws: the "
        f"{away.size} means are {np.median(away):.2f} standard errors from the whole in the median, {away[-1]:.2f} at "
        f"most (of so many, {away.size * 0.0027:.2f} are expected beyond 3); a single draw is {share:.1%} off "
        "in the median."
    )


# --- columns


def _columns() -> Iterator[str]:
    yield (
        "| signal over noise | recall: ours | Lasso | gates | loss of ours over Lasso's "
        "| seconds: ours | Lasso | gates |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for signal in SIGNALS:
        yield _of_a_signal(signal)


def _of_a_signal(signal: float) -> str:
    clock = RunContext().clock
    recalls: dict[str, list[float]] = {"ours": [], "lasso": [], "gates": []}
    seconds: dict[str, list[float]] = {name: [] for name in recalls}
    losses = []
    for seed in range(PROBLEMS):
        columns, outcome, true = _planted(seed, signal)
        found: dict[str, NDArray[np.intp]] = {}
        ways: dict[str, Any] = {"ours": _ours, "lasso": _lasso} | ({"gates": _gates} if seed < BY_GATES else {})
        for name, choose in ways.items():
            began = clock()
            found[name] = choose(columns, outcome, seed)
            seconds[name].append(clock() - began)
            recalls[name].append(float(np.isin(true, found[name]).mean()))
        losses.append(_loss(columns, outcome, found["ours"]) / _loss(columns, outcome, found["lasso"]))
    sys.stderr.write(f"{signal} {recalls}\n")
    recall = " | ".join(f"{np.mean(each):.2f}" for each in recalls.values())
    took = " | ".join(f"{np.median(each):.1f}" for each in seconds.values())
    return f"| {signal:g} | {recall} | {np.mean(losses):.3f} | {took} |"


def _planted(seed: int, signal: float, n: int = 500, p: int = 1_000) -> tuple[Floats, Floats, NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    fresh = rng.normal(size=(n, p))
    columns = np.empty_like(fresh)
    columns[:, 0] = fresh[:, 0]
    for j in range(1, p):
        columns[:, j] = 0.7 * columns[:, j - 1] + np.sqrt(1 - 0.7**2) * fresh[:, j]
    true = np.sort(rng.choice(p, TRUE, replace=False))
    told = columns[:, true] @ (rng.choice([-1, 1], TRUE) * rng.uniform(0.5, 1.5, TRUE))
    return columns, told + rng.normal(size=n) * told.std() / np.sqrt(signal), true


def _ours(columns: Floats, outcome: Floats, seed: int) -> NDArray[np.intp]:
    options = SamplingHyperparameters(mode="features", count=TRUE, comparisons=0)
    result = run(SamplingProblem.build(columns, outcome=outcome), options, RunContext(seed=seed))
    if not isinstance(result, FeaturesResult) or result.columns.size != TRUE:
        raise TypeError(f"a search that nobody stops ended as {result}")
    return result.columns


def _lasso(columns: Floats, outcome: Floats, _seed: int) -> NDArray[np.intp]:
    scaled = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    path = lars_path(scaled, outcome - outcome.mean(), method="lasso", max_iter=4 * TRUE)[2]
    sizes = (path != 0).sum(axis=0)
    exact = np.flatnonzero(sizes == TRUE)
    at = exact[-1] if exact.size else np.flatnonzero(sizes > TRUE)[0]
    return np.asarray(np.argsort(-np.abs(path[:, at]))[:TRUE])


def _gates(columns: Floats, outcome: Floats, seed: int) -> NDArray[np.intp]:
    scaled = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    goal, low, high, best = (outcome - outcome.mean()) / outcome.std(), 1e-4, 10.0, np.zeros(scaled.shape[1])
    for _ in range(8):
        price = float(np.sqrt(low * high))
        model = SparseL0Linear(n_features=scaled.shape[1], beta=0.35, init_keep_prob=0.9, seed=seed)
        size = np.abs(model.fit(scaled, goal, lambda_reg=price, lr=0.02, epochs=1_000).get_coefficients(0.0).numpy())
        open_ = int((size > 0).sum())
        if abs(open_ - TRUE) <= abs(int((best > 0).sum()) - TRUE):
            best = size
        low, high = (price, high) if open_ > TRUE else (low, price)
    return np.asarray(np.argsort(-best)[:TRUE])


def _loss(columns: Floats, outcome: Floats, chosen: NDArray[np.intp]) -> float:
    design = np.c_[np.ones(outcome.size), columns[:, chosen]]
    residual = outcome - design @ np.linalg.lstsq(design, outcome)[0]
    return float(residual @ residual) / outcome.size


if __name__ == "__main__":
    main()
