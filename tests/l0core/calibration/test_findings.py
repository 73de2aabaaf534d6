"""Structural findings: what is planted is named, and nothing else is."""

import json
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.calibration import findings
from l0core.calibration.conflicts import ratio_conflicts
from l0core.calibration.findings import selection_bytes
from l0core.calibration.problem import CalibrationProblem
from l0core.matrices import Coo
from tests.problems import by_hand, conflicting, planted_findings, solved


def test_every_planted_target_is_named_and_no_other() -> None:
    planted = planted_findings()
    named: dict[str, set[str]] = {}
    for finding in planted.problem.findings:
        if finding.target is not None:
            named.setdefault(finding.code, set()).add(finding.target)
    assert named == planted.named


def test_what_belongs_to_no_single_target_is_counted() -> None:
    planted = planted_findings()
    assert {f.code: f.value for f in planted.problem.findings if f.target is None} == planted.counted


def test_a_finding_shows_the_number_that_proves_it() -> None:
    by_target = {f.target: f for f in planted_findings().problem.findings if f.target}
    assert (by_target["nobody"].value, by_target["negative"].value, by_target["positive"].value) == (7.0, -3.0, 4.0)
    assert by_target["positive"].message == "target 'positive' is 4, and every unit's contribution to it is negative"
    assert by_target["too_much"].value == 4500.0
    assert by_target["all_otherwise"].value == pytest.approx(3 / 9)
    assert by_target["all_in_another_unit"].value == pytest.approx(0.2 / 4.2)
    assert by_target["tiny"].value == 1.0


def test_an_error_is_what_cannot_be_met_and_nothing_else() -> None:
    severities: dict[str, set[str]] = {}
    for finding in planted_findings().problem.findings:
        severities.setdefault(finding.severity, set()).add(finding.code)
    assert severities == {
        "error": {"no_support", "wrong_sign", "out_of_reach", "duplicate_targets_in_conflict"},
        "warning": {"degenerate_target"},
        "info": {"duplicate_targets", "empty_columns", "zero_design_weights"},
    }


def test_both_targets_of_a_pair_are_named_with_what_they_ask() -> None:
    messages = {f.target: f.message for f in planted_findings().problem.findings}
    assert messages["all_again"] == (
        "targets 'all' and 'all_again' have the same entry for every unit, and their totals agree: "
        "the second says nothing new"
    )
    assert messages["all_in_another_unit"] == (
        "target 'all_in_another_unit' is 0.7 times target 'all' in every unit; their totals, 6 and 4, are 4.76 % off: "
        "no weights meet both"
    )


def test_a_finding_says_where_its_target_stands() -> None:
    rows = [[1.0, 1.0], [0.0, 0.0], [-1.0, 0.0]]
    problem = CalibrationProblem.build(rows, [1.0, 1.0, 1.0], target_names=["twin"] * 3)
    assert [(f.code, f.index) for f in problem.findings] == [("no_support", 1), ("wrong_sign", 2)]


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_problem_has_no_findings(seed: int) -> None:
    assert solved(seed=seed).problem.findings == []


@pytest.mark.parametrize("seed", range(5))
def test_every_target_that_repeats_another_with_a_higher_total_is_named(seed: int) -> None:
    found = conflicting(seed=seed).findings
    assert [(f.code, f.index) for f in found] == [("duplicate_targets_in_conflict", i) for i in range(5, 10)]
    assert [f.value for f in found] == pytest.approx([0.2 / 1.2] * 5)


def test_an_empty_column_is_the_only_thing_found_by_hand() -> None:
    assert [(f.code, f.value) for f in by_hand().findings] == [("empty_columns", 1.0)]


def test_what_was_mended_comes_first() -> None:
    twice = Coo(shape=(1, 2), row=np.array([0, 0]), col=np.array([0, 0]), data=np.array([1.0, 2.0]))
    problem = CalibrationProblem.build(twice, [3.0])
    assert [f.code for f in problem.findings] == ["duplicates_summed", "empty_columns"]


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_an_error_is_found_exactly_where_no_weights_come_near_the_target(seed: int) -> None:
    """A row is out of reach for all weights if its estimates are 0 or of the other sign, or it repeats another."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-1, 2, size=(6, 3)) * (rng.random((6, 3)) < 0.5)
    targets = rng.integers(-1, 2, size=6)
    problem = CalibrationProblem.build(matrix, targets)
    doubted = {f.target for f in problem.findings if f.severity == "error"}
    hopeless = {f"target_{i}" for i in range(6) if targets[i] != 0 and not (matrix[i] * targets[i] > 0).any()}
    contradicted = {
        f"target_{i}"
        for i in range(6)
        for k in range(i)
        for factor in (1, -1)
        if matrix[i].any() and (matrix[i] == factor * matrix[k]).all() and targets[i] != factor * targets[k]
    }
    assert hopeless <= doubted <= hopeless | contradicted


@pytest.mark.parametrize(
    ("rows", "target", "is_degenerate"),
    [
        ([2.0, 3.0], 3.9, True),  # the shares are 4 and 3 x 10
        ([2.0, 3.0], -3.9, True),
        ([2.0, 3.0], 4.0, False),
        ([2.0, 3.0], 0.0, False),
        ([-2.0, 3.0], 3.9, True),
        ([2.0, 0.0], 2.1, False),  # the only unit's weight may be lowered a little
        ([2.0, 0.0], 1.9, True),
        ([0.0, 0.0], 0.1, False),  # nobody: a finding of its own
    ],
)
def test_a_target_below_a_single_unit_s_share_is_doubtful(
    rows: list[float], target: float, is_degenerate: bool
) -> None:
    problem = CalibrationProblem.build([rows, [1.0, 1.0]], [target, 12.0], initial_weights=[2.0, 10.0])
    assert ("degenerate_target" in {f.code for f in problem.findings}) is is_degenerate


def test_a_unit_without_a_design_weight_has_no_share() -> None:
    problem = CalibrationProblem.build([[2.0, 3.0, 1.0]], [3.9], initial_weights=[2.0, 10.0, 0.0])
    assert [f.code for f in problem.findings] == ["degenerate_target", "zero_design_weights"]


def test_memory_is_told_where_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = solved(n_targets=6, n_units=60).problem
    asked = int(1.2 * (6 * problem.nnz + 8 * 60)) + 64 * 60
    assert selection_bytes(problem) == asked
    monkeypatch.setattr(findings, "_LARGE_BYTES", asked)
    (finding,) = problem.findings
    assert (finding.code, finding.severity, finding.value) == ("memory_estimate", "info", asked)


def test_beyond_two_bytes_a_row_s_number_takes_four() -> None:
    sizes = SimpleNamespace(n_targets=70_000, n_units=5_000_000, nnz=100_000_000)
    assert selection_bytes(cast("CalibrationProblem", sizes)) == int(1.2 * (8e8 + 4e7)) + 320_000_000


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_the_largest_and_smallest_numbers_give_findings_that_are_json(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, n = rng.integers(1, 6, 2)
    matrix = rng.choice([0, 1, -1, 5e-324, 1e308, -1e308, 1e-300, 3, 0.1], size=(q, n))
    weights = rng.choice([1, 1e308, 5e-324, 2.0], size=n)
    bounds = {"lower": rng.choice([0, 1e-300, 1.0], size=n), "upper": rng.choice([1.0, 1e308, np.inf], size=n)}
    targets = rng.choice([0, 1, -1, 1e308, 5e-324, -1e308, 7.0], size=q)
    problem = CalibrationProblem.build(matrix, targets, initial_weights=weights, weight_bounds=bounds)
    for finding in (*problem.findings, *ratio_conflicts(problem)):
        json.dumps(finding.model_dump(), allow_nan=False)
