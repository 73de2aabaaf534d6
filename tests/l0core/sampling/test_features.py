"""Columns that explain an outcome: exact counts, known answers, and searches that stop and go on to the bit."""

from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, lars_path

from l0core.context import CheckpointPolicy, EpochReport, FindingReport, Report, RunContext, StageReport, Stopped
from l0core.errors import CheckpointIncompatible, InfeasibleBudget, InvalidHyperparameter, InvalidInput, L0Error
from l0core.sampling import features
from l0core.sampling.declaration import KIND
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.run import run
from tests.l0core.sampling.made import explained, options, planted


def small(seed: int = 0, **inputs: Any) -> SamplingProblem:
    problem, _ = planted(seed, n_units=80, n_columns=9, n_true=3)
    given = {"outcome": problem.outcome} | inputs
    return SamplingProblem.build(problem.features, **given)


def classes(n_classes: int, *, n_units: int = 300, seed: int = 0) -> SamplingProblem:
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(n_units, 12))
    scores = np.stack([np.zeros(n_units), *(columns[:, [2 * c, 2 * c + 1]].sum(axis=1) for c in range(n_classes - 1))])
    ids = np.argmax(scores + rng.gumbel(size=scores.shape), axis=0)
    return SamplingProblem.build(columns, outcome=10 * ids + 7)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_few_columns_the_best_are_found(seed: int, count: int) -> None:
    """Against every subset there is."""
    problem = small(seed)
    result = explained(problem, count=count)
    columns, outcome = problem.features.toarray(), problem.outcome
    losses = {
        subset: np.linalg.lstsq(np.c_[np.ones(80), columns[:, subset]], outcome)[1][0] / 80
        for subset in combinations(range(9), count)
    }
    best = min(losses, key=lambda subset: losses[subset])
    assert result.columns.tolist() == list(best)
    assert result.summary["loss"] == pytest.approx(losses[best])


@pytest.mark.parametrize("count", range(1, 10))
def test_exactly_so_many_columns_are_chosen(count: int) -> None:
    result = explained(small(), count=count)
    assert result.columns.size == result.selection.size == result.summary["n_active"] == count


def test_columns_that_bring_nothing_fill_the_count() -> None:
    columns = np.repeat(np.arange(20.0)[:, None], 4, axis=1)
    columns[:, 3] = 7.0
    result = explained(SamplingProblem.build(columns, outcome=np.arange(20.0) ** 2), count=4)
    assert result.columns.tolist() == [0, 1, 2, 3]
    assert np.isfinite(result.explained.coefficients).all()


def test_coefficients_are_those_of_the_columns_as_they_came() -> None:
    problem = SamplingProblem.build(
        np.random.default_rng(0).normal(50, [1, 100, 3], (60, 3)), initial_weights=np.linspace(0, 2, 60)
    )
    values = problem.features.toarray() @ [2.0, -0.01, 0.0] + 5
    told = SamplingProblem.build(problem.features, outcome=values, initial_weights=problem.design_weights)
    result = explained(told, count=2)
    np.testing.assert_allclose(result.selection["weight"], [2.0, -0.01], rtol=1e-6)
    assert result.summary["intercept"] == pytest.approx(5.0, rel=1e-5)
    assert result.summary["explained_share"] == pytest.approx(1.0)


def test_a_planted_problem_is_recovered_no_worse_than_by_the_lasso() -> None:
    """A small one; the whole of it is in benchmarks/sampling.py."""
    ours, theirs = [], []
    for seed in range(6):
        problem, true = planted(seed, n_units=250, n_columns=200, n_true=10)
        ours.append(np.isin(true, explained(problem, count=10).columns).mean())
        theirs.append(np.isin(true, _lasso(problem, 10)).mean())
    assert np.mean(ours) >= np.mean(theirs)


def _lasso(problem: SamplingProblem, count: int) -> np.ndarray[Any, Any]:
    assert problem.outcome is not None
    columns = problem.features.toarray()
    scaled = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    path = lars_path(scaled, problem.outcome - problem.outcome.mean(), method="lasso", max_iter=4 * count)[2]
    return np.flatnonzero(path[:, np.flatnonzero((path != 0).sum(axis=0) == count)[-1]])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_columns_that_tell_classes_apart_are_found(n_classes: int) -> None:
    result = explained(classes(n_classes), count=2 * (n_classes - 1), task="classification")
    assert result.columns.tolist() == list(range(2 * (n_classes - 1)))
    assert result.explained.coefficients.shape == (2 * (n_classes - 1), n_classes - 1)
    assert result.summary["accuracy"] > 1 / n_classes


def test_a_logistic_fit_is_scikit_learn_s_without_its_penalty() -> None:
    problem = classes(3)
    result = explained(problem, count=12, task="classification")
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(problem.features.toarray(), problem.outcome)
    against_the_first = (theirs.coef_[1:] - theirs.coef_[0]).T
    np.testing.assert_allclose(result.explained.coefficients, against_the_first, rtol=1e-3, atol=1e-4)


def test_classes_that_a_column_tells_without_fault_leave_finite_coefficients() -> None:
    column = np.r_[-np.ones(10), np.ones(10)]
    problem = SamplingProblem.build(np.c_[np.arange(20.0) % 3, column], outcome=(column > 0).astype(float))
    result = explained(problem, count=1, task="classification")
    assert (result.columns.tolist(), result.summary["accuracy"]) == ([1], 1.0)
    assert np.isfinite(result.explained.coefficients).all()


def test_a_unit_of_weight_0_says_nothing() -> None:
    problem = small()
    assert problem.outcome is not None
    weights, wild = np.r_[0.0, np.ones(79)], problem.outcome.copy()
    wild[0] = 1e6
    found = [explained(small(outcome=o, initial_weights=weights), count=3) for o in (problem.outcome, wild)]
    np.testing.assert_allclose(found[0].selection["weight"], found[1].selection["weight"])


def test_a_column_held_out_is_never_chosen() -> None:
    free = explained(small(), count=3).columns
    held_out = np.isin(np.arange(9), free[:1])
    result = explained(small(holdout=held_out), count=8)
    assert set(result.columns) == set(range(9)) - {int(free[0])}


@pytest.mark.parametrize(
    ("inputs", "settings", "error", "pointer", "said"),
    [
        ({"outcome": None}, {}, InvalidInput, "/outcome", "the problem has none"),
        ({"outcome": np.ones(80)}, {}, InvalidInput, "/outcome", "nothing to explain"),
        ({"outcome": np.ones(80)}, {"task": "classification"}, InvalidInput, "/outcome", "1 classes"),
        ({"outcome": np.arange(80)}, {"task": "classification"}, InvalidInput, "/outcome", "80 in all"),
        ({"outcome": np.full(80, 0.5)}, {"task": "classification"}, InvalidInput, "/outcome/0", "whole number"),
        ({}, {"count": 10}, InfeasibleBudget, "/hyperparameters/count", "9 columns may be chosen"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    inputs: dict[str, Any], settings: dict[str, Any], error: type[L0Error], pointer: str, said: str
) -> None:
    asked = {"count": 2} | settings
    with pytest.raises(error, match=said) as refused:
        explained(small(**inputs), **asked)
    assert refused.value.pointer == pointer


def test_what_would_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_MOST_NUMBERS", 100)
    with pytest.raises(InvalidHyperparameter, match="160 numbers at once"):
        explained(small(), count=2)


@pytest.mark.parametrize("rounds", [0, 2, 4, 6])
def test_a_search_that_was_stopped_and_resumed_is_the_search_that_was_not(rounds: int, tmp_path: Path) -> None:
    problem, _ = planted(1, n_units=100, n_columns=40, n_true=6)
    whole = explained(problem, count=6)
    assert whole.summary["rounds"] > 6
    asked = iter([False] * rounds)
    policy = CheckpointPolicy(folder=tmp_path)
    context = RunContext(seed=1, should_stop=lambda: next(asked, True), checkpoints=policy)
    assert run(problem, options(mode="features", count=6), context) == Stopped(epoch=rounds)
    resumed = explained(problem, RunContext(seed=1, resume_from=policy.path), count=6)
    assert resumed.selection.tobytes() == whole.selection.tobytes()
    assert resumed.history == whole.history
    with pytest.raises(CheckpointIncompatible):
        KIND.weights_in(policy.path)


@pytest.mark.parametrize("count", [2, 8])
def test_a_search_goes_on_from_another_with_fewer_or_more_columns(count: int, tmp_path: Path) -> None:
    policy, reports = CheckpointPolicy(folder=tmp_path), list[Report]()
    explained(small(), RunContext(seed=1, checkpoints=policy), count=5)
    context = RunContext(seed=1, continue_from=policy.path, report=reports.append)
    assert explained(small(), context, count=count).columns.size == count
    assert "continued_with_changes" in {r.code for r in reports if isinstance(r, FindingReport)}


def test_a_search_goes_on_from_columns_that_may_no_longer_be_chosen_by_another_problem(tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    explained(small(), RunContext(seed=1, checkpoints=policy), count=5)
    with pytest.raises(CheckpointIncompatible):
        explained(small(holdout=np.arange(9) < 3), RunContext(seed=1, continue_from=policy.path), count=5)


def test_it_reports_its_stages_and_only_curves_that_are_declared() -> None:
    reports = list[Report]()
    explained(small(), RunContext(report=reports.append), count=3)
    assert [r.stage for r in reports if isinstance(r, StageReport)] == ["preparing", "selecting", "evaluating"]
    epochs = [report for report in reports if isinstance(report, EpochReport)]
    assert epochs[-1].epoch == epochs[-1].epochs
    assert all(before.metrics["loss"] >= after.metrics["loss"] for before, after in pairwise(epochs))
    assert {name for report in epochs for name in report.metrics} <= set(KIND.curves)


def test_the_most_rounds_of_exchanges_are_kept() -> None:
    problem, _ = planted(1, n_units=100, n_columns=40, n_true=6)
    assert explained(problem, count=6, epochs=1).summary["rounds"] == 7


def test_random_columns_explain_less() -> None:
    summary = explained(small(), count=3, comparisons=9).summary
    assert summary["loss_over_random"] == pytest.approx(summary["loss"] / summary["random_columns_loss"])
    assert summary["loss_over_random"] < 1
