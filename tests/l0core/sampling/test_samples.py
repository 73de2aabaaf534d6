"""Samples from beginning to end: exact counts, totals that are kept, runs that stop and go on to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.context import CheckpointPolicy, EpochReport, FindingReport, Report, RunContext, StageReport, Stopped
from l0core.errors import CheckpointIncompatible, InfeasibleBudget
from l0core.sampling.chances import chances
from l0core.sampling.declaration import KIND
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.run import run
from tests.l0core.sampling.made import explained, minnesota, of_units, options, sampled

MODES = ["samples", "hybrid"]


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    share=st.floats(0, 1),
    mode=st.sampled_from(MODES),
    moments=st.sampled_from([1, 2]),
    lambda_l0=st.sampled_from([None, 0.0, 1e-3, 1e6]),
)
def test_exactly_so_many_units_are_chosen(
    seed: int, share: float, mode: str, moments: int, lambda_l0: float | None
) -> None:
    """Down to two and up to all there are, also where some have a design weight of 0."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 2, 30) * (rng.random(30) < 0.8)
    weights[:3] = 1.0
    problem = of_units(n_units=30, seed=seed, initial_weights=weights)
    count = 2 + round(share * (int((weights > 0).sum()) - 2))
    result = sampled(problem, mode=mode, count=count, epochs=10, moments=moments, lambda_l0=lambda_l0)
    assert np.count_nonzero(result.weights) == result.selection.size == result.summary["n_active"] == count
    assert (result.weights >= 0).all()
    assert not result.weights[weights == 0].any()


@pytest.mark.parametrize("mode", MODES)
def test_the_totals_in_the_fit_are_those_of_the_whole(mode: str) -> None:
    result = sampled(of_units(), mode=mode, count=60)
    assert result.representation.in_the_fit < 1e-6
    assert result.weights.sum() == pytest.approx(result.problem.design_weights.sum(), rel=1e-6)


def test_second_moments_are_kept_where_they_are_asked_for() -> None:
    spreads = [
        [abs(r["standard_deviation"] / r["initial_standard_deviation"] - 1) for r in sampled_rows(moments)][:-1]
        for moments in (1, 2)
    ]
    assert max(spreads[1]) < 1e-5 < max(spreads[0])


def sampled_rows(moments: int) -> list[dict[str, Any]]:
    return list(sampled(of_units(), count=60, moments=moments, coverage=0).column_rows())


def test_given_totals_are_met_instead_of_those_of_the_whole() -> None:
    bare = of_units()
    problem = of_units(targets=bare.whole * 1.2)
    result = sampled(problem, count=80)
    estimates = result.fit.estimates[:-1]
    np.testing.assert_allclose(estimates, 1.2 * bare.whole[:-1], rtol=1e-5)


def test_given_totals_out_of_reach_are_found() -> None:
    reports: list[Report] = []
    problem = of_units(targets=[-5.0, 10.0, 10.0, 10.0, 10.0])
    assert "wrong_sign" in {finding.code for finding in problem.findings}
    sampled(problem, RunContext(seed=1, report=reports.append), count=50)
    assert any(isinstance(report, FindingReport) for report in reports)


def test_a_count_of_all_units_keeps_all() -> None:
    problem = of_units(n_units=40)
    result = sampled(problem, count=40)
    assert (result.weights > 0).all()
    assert result.representation.in_the_fit < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_a_count_above_the_units_is_refused_before_anything_runs(mode: str) -> None:
    problem, reports = of_units(n_units=40, initial_weights=np.r_[np.zeros(5), np.ones(35)]), list[Report]()
    with pytest.raises(InfeasibleBudget, match="count is 36, and 35 units") as refused:
        sampled(problem, RunContext(report=reports.append), mode=mode, count=36)
    assert refused.value.pointer == "/hyperparameters/count"
    assert reports == []


def test_the_random_part_has_the_probabilities_of_its_draw() -> None:
    result = sampled(of_units(), mode="hybrid", count=40, random_fraction=0.25)
    table, problem = result.selection, result.problem
    drawn = table["type"] == "random"
    assert (drawn.sum(), (~drawn).sum(), result.summary["n_random"]) == (10, 30, 10)
    assert (table["inclusion_probability"][~drawn] == 1).all()
    known = chances(table["index"][~drawn], problem.design_weights, 10)
    np.testing.assert_array_equal(table["inclusion_probability"][drawn], known[table["index"][drawn]])
    expected = problem.design_weights[table["index"]] / table["inclusion_probability"]
    np.testing.assert_array_equal(result.horvitz_thompson_weights, expected)


def test_another_seed_draws_others() -> None:
    first, second = (
        sampled(of_units(), RunContext(seed=seed), mode="hybrid", count=40).selection["index"] for seed in (1, 2)
    )
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_the_same_bits(mode: str) -> None:
    first, second = (sampled(of_units(), mode=mode, count=40, comparisons=2) for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.summary == second.summary


def test_the_global_generators_are_left_alone() -> None:
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    sampled(of_units(), mode="hybrid", count=40, comparisons=1)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index,union-attr]


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_was_stopped_and_resumed_is_the_run_that_was_not(mode: str, tmp_path: Path) -> None:
    whole = sampled(of_units(), mode=mode, count=40)
    stopped = run(of_units(), options(mode=mode, count=40), _stopping_after(25, tmp_path))
    assert stopped == Stopped(epoch=25)
    resumed = sampled(
        of_units(), RunContext(seed=1, resume_from=tmp_path / "checkpoint.safetensors"), mode=mode, count=40
    )
    assert resumed.weights.tobytes() == whole.weights.tobytes()
    assert resumed.selection.tobytes() == whole.selection.tobytes()
    assert resumed.summary == whole.summary
    assert KIND.weights_in(tmp_path / "checkpoint.safetensors").shape == (200,)


def _stopping_after(epochs: int, folder: Path) -> RunContext:
    asked = iter([False] * epochs)
    return RunContext(
        seed=1, should_stop=lambda: next(asked, True), checkpoints=CheckpointPolicy(folder=folder, every_epochs=10)
    )


def test_a_run_goes_on_from_another_and_says_what_changed(tmp_path: Path) -> None:
    policy, reports = CheckpointPolicy(folder=tmp_path), list[Report]()
    sampled(of_units(), RunContext(seed=1, checkpoints=policy), count=40)
    context = RunContext(seed=2, continue_from=policy.path, report=reports.append)
    result = sampled(of_units(), context, count=30)
    assert result.summary["n_active"] == 30
    assert "continued_with_changes" in {r.code for r in reports if isinstance(r, FindingReport)}


def test_a_checkpoint_of_another_problem_or_mode_is_refused(tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    sampled(of_units(outcome=np.arange(200.0)), RunContext(seed=1, checkpoints=policy), count=40)
    with pytest.raises(CheckpointIncompatible):
        sampled(of_units(seed=4), RunContext(seed=1, continue_from=policy.path), count=40)
    with pytest.raises(CheckpointIncompatible, match="another mode"):
        explained(of_units(outcome=np.arange(200.0)), RunContext(seed=1, continue_from=policy.path), count=2)


def test_it_reports_its_stages_and_only_curves_that_are_declared() -> None:
    reports = list[Report]()
    sampled(of_units(), RunContext(seed=1, report=reports.append), mode="hybrid", count=40)
    stages = [report.stage for report in reports if isinstance(report, StageReport)]
    assert stages == ["preparing", "selecting", "refitting", "evaluating"]
    epochs = [report for report in reports if isinstance(report, EpochReport)]
    assert epochs[-1].epoch == epochs[-1].epochs == 60
    assert {name for report in epochs for name in report.metrics} <= set(KIND.curves)


def test_told_to_stop_late_it_still_stops() -> None:
    reports = list[Report]()

    def is_evaluating() -> bool:
        return StageReport(stage="evaluating") in reports

    context = RunContext(seed=1, report=reports.append, should_stop=is_evaluating)
    assert run(of_units(), options(count=40, comparisons=50), context) == Stopped(epoch=60)


def test_a_sample_is_held_against_as_many_draws_as_asked_for() -> None:
    summary = sampled(of_units(), count=40, comparisons=3).summary
    assert {name: each["draws"] for name, each in summary["comparisons"].items()} == {"random": 3, "stratified": 3}
    each = summary["comparisons"]["stratified"]
    ours = summary["representation"]["mean_abs_relative_error"]
    assert each["error_over_median"] == pytest.approx(ours / each["mean_abs_relative_error"])
    assert sampled(of_units(), count=40).summary["comparisons"] == {}


def test_coverage_makes_what_is_left_out_come_nearer() -> None:
    """The held-out column is a square of one in the fit, which no total of the columns tells."""
    left_out = {
        coverage: np.mean(
            [
                sampled(of_units(n_units=400, seed=s), count=60, coverage=coverage).representation.left_out
                for s in range(4)
            ]
        )
        for coverage in (0, 12)
    }
    assert left_out[12] < left_out[0]


@pytest.mark.parametrize("family", ["people", "eitc"])
def test_minnesota_is_represented_better_than_by_stratified_draws(family: str) -> None:
    """A family of totals left out; the whole of it is in benchmarks/sampling.py."""
    problem, families = minnesota()
    without = replace(problem, holdout=np.array(families) == family)
    result = sampled(without, count=500, epochs=300, comparisons=5)
    assert result.summary["n_active"] == 500
    assert result.summary["comparisons"]["stratified"]["error_over_median"] < 1


def test_units_with_nothing_in_them_count_as_units() -> None:
    columns = np.zeros((20, 1))
    columns[:4] = 1.0
    result = sampled(SamplingProblem.build(columns), count=10)
    assert result.fit.estimates[0] == pytest.approx(4.0)
    assert result.weights.sum() == pytest.approx(20.0)
