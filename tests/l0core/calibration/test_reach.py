"""What bounds let a target reach: against a linear program, and what is said of a target outside."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from l0core import matrices
from l0core.arrays import FloatArray
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.reach import out_of_reach, reach


def _drawn(seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    dense = rng.integers(-2, 3, size=(5, 4)).astype(float)
    lower = rng.integers(0, 2, size=4).astype(float)
    upper = np.where(rng.random(4) < 0.3, np.inf, lower + rng.integers(0, 3, size=4))
    return dense, lower, upper


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31))
def test_the_ends_are_those_of_a_linear_program(seed: int) -> None:
    dense, lower, upper = _drawn(seed)
    ends = reach(sp.csr_array(dense), lower, upper)
    for i, row in enumerate(dense):
        for sign, end in ((1, ends.low[i]), (-1, -ends.high[i])):
            solved = linprog((sign * row).tolist(), bounds=list(zip(lower.tolist(), upper.tolist(), strict=True)))
            assert end == (pytest.approx(solved.fun) if solved.status == 0 else -np.inf)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_target_is_named_exactly_where_it_lies_outside_and_unbounded_weights_could_meet_it(seed: int) -> None:
    dense, lower, upper = _drawn(seed)
    targets = np.random.default_rng(seed + 1).integers(-4, 5, size=5).astype(float)
    bounds = {"lower": lower, "upper": upper}
    problem = CalibrationProblem.build(dense, targets, weight_bounds=bounds)
    named = {f.index for f in problem.findings if f.code == "out_of_reach"}
    low = np.where(dense > 0, dense * lower, 0).sum(1) + np.where(dense < 0, dense, 0) @ np.minimum(upper, 1e9)
    high = np.where(dense > 0, dense, 0) @ np.minimum(upper, 1e9) + np.where(dense < 0, dense * lower, 0).sum(1)
    meets = (targets == 0) | (dense * targets[:, None] > 0).any(axis=1)
    assert named == set(np.flatnonzero(((targets < low) | (targets > high)) & meets))


@pytest.mark.parametrize("at_once", [1, 3, 10**6])
def test_the_ends_do_not_depend_on_how_the_rows_are_cut(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dense, lower, upper = _drawn(7)
    whole = reach(sp.csr_array(dense), lower, upper)
    monkeypatch.setattr(matrices, "_ENTRIES_AT_ONCE", at_once)
    cut = reach(sp.csr_array(dense), lower, upper)
    np.testing.assert_array_equal(whole.low, cut.low)
    np.testing.assert_array_equal(whole.high, cut.high)


def test_the_nearest_total_within_reach_is_told() -> None:
    problem = CalibrationProblem.build([[1.0, 1.0], [1.0, 2.0]], [9.0, 1.0], target_names=["many", "few"])
    many, few = out_of_reach(problem, np.ones(2), np.array([2.0, 3.0]))
    assert (many.value, few.value) == (5.0, 3.0)
    assert many.message == "target 'many' is 9; the bounds of the weights let it be 5 at most"
    assert few.message == "target 'few' is 1; the bounds of the weights let it be 3 at least"


def test_what_is_known_is_not_told_again() -> None:
    problem = CalibrationProblem.build([[1.0, 1.0], [1.0, 2.0]], [9.0, 11.0], weight_bounds={"upper": [2.0, 3.0]})
    assert [f.index for f in out_of_reach(problem, None, np.full(2, 1.0), known=problem.findings)] == []
    assert [f.index for f in out_of_reach(problem, None, np.full(2, 1.0))] == [0, 1]


def test_without_bounds_nothing_is_out_of_reach() -> None:
    problem = CalibrationProblem.build([[1.0], [-1.0]], [-9.0, 1e300])
    assert out_of_reach(problem, None, None) == []


def test_a_target_at_the_very_end_is_within_reach_whatever_was_rounded() -> None:
    rng = np.random.default_rng(0)
    matrix, weights = rng.random((20, 1000)), rng.random(1000)
    totals = matrix[:, ::-1] @ weights[::-1]  # the same sums in another order
    problem = CalibrationProblem.build(matrix, totals, weight_bounds={"lower": weights, "upper": weights})
    assert problem.findings == []
    moved = CalibrationProblem.build(matrix, totals * (1 + 1e-6), weight_bounds={"lower": weights, "upper": weights})
    assert [f.code for f in moved.findings] == ["out_of_reach"] * 20
