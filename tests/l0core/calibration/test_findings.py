"""Structural findings: what is planted is named, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    assert {f.severity for f in by_target.values()} == {"error"}


def test_a_finding_says_where_its_target_stands() -> None:
    problem = CalibrationProblem.build([[1.0], [0.0], [-1.0]], [1.0, 1.0, 1.0], target_names=["twin"] * 3)
    assert [(f.code, f.index) for f in problem.findings] == [("no_support", 1), ("wrong_sign", 2)]


def test_what_only_costs_nothing_is_no_error() -> None:
    assert {f.severity for f in planted_findings().problem.findings if f.target is None} == {"info"}


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_problem_has_no_findings(seed: int) -> None:
    assert solved(seed=seed).problem.findings == []
    assert conflicting(seed=seed).findings == []


def test_an_empty_column_is_the_only_thing_found_by_hand() -> None:
    assert [(f.code, f.value) for f in by_hand().findings] == [("empty_columns", 1.0)]


def test_what_was_mended_comes_first() -> None:
    twice = Coo(shape=(1, 2), row=np.array([0, 0]), col=np.array([0, 0]), data=np.array([1.0, 2.0]))
    findings = CalibrationProblem.build(twice, [1.0]).findings
    assert [f.code for f in findings] == ["duplicates_summed", "empty_columns"]


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_an_error_is_found_exactly_where_no_weights_come_near_the_target(seed: int) -> None:
    """A row is out of reach for all weights if its estimates are 0 or always of the other sign."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-1, 2, size=(6, 3)) * (rng.random((6, 3)) < 0.5)
    targets = rng.integers(-1, 2, size=6)
    problem = CalibrationProblem.build(matrix, targets)
    doubted = {f.target for f in problem.findings if f.severity == "error"}
    hopeless = {f"target_{i}" for i in range(6) if targets[i] != 0 and not (matrix[i] * targets[i] > 0).any()}
    assert doubted == hopeless
