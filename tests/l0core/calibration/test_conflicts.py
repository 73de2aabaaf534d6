"""Costly findings: pairs and sets of totals that contradict one another, each checked by a linear program."""

from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, lsq_linear

from l0core.arrays import FloatArray
from l0core.calibration import conflicts
from l0core.calibration.conflicts import conflicting_set, ratio_conflicts
from l0core.calibration.problem import CalibrationProblem
from l0core.findings import Finding
from tests.problems import solved, too_rich

NO_BOUND = np.inf


def test_the_top_income_case_is_named_with_the_ratio_and_the_richest_unit() -> None:
    planted = too_rich()
    found = ratio_conflicts(planted.problem)
    assert {f.target for f in found} == planted.named["ratio_conflict"]
    assert [(f.severity, f.index, f.value) for f in found] == [("error", 1, 4_500_000.0)]
    assert found[0].message == (
        "targets 'FL/income' and 'FL/returns' cannot be met together: their totals ask for 4,500,000 of the first for "
        "each 1 of the second, and of the 3 units that count in them the largest is 1,700,000"
    )


def test_a_ratio_below_all_units_is_impossible_too() -> None:
    problem = CalibrationProblem.build([[2.0, 5.0], [1.0, 1.0]], [15.0, 10.0], target_names=["dollars", "people"])
    (found,) = ratio_conflicts(problem)
    assert (found.target, found.value) == ("dollars", 1.5)
    assert found.message.endswith("of the 2 units that count in them the smallest is 2")


def _possible(rows: FloatArray, totals: FloatArray) -> bool:
    return bool(linprog(np.zeros(rows.shape[1]), A_eq=rows, b_eq=totals).status == 0)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_pair_is_named_exactly_where_no_weights_meet_its_two_totals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.where(rng.random((6, 4)) < 0.8, 1.0, 0.0) * rng.integers(1, 5, (6, 4)).astype(float)
    totals = rng.integers(1, 30, 6).astype(float)
    found = ratio_conflicts(CalibrationProblem.build(rows, totals))
    expected = sum(
        not _possible(rows[[i, k]], totals[[i, k]])
        for i, k in combinations(range(6), 2)
        if rows[i].any() and ((rows[i] != 0) == (rows[k] != 0)).all() and np.linalg.matrix_rank(rows[[i, k]]) == 2
    )
    assert len(found) == len({f.message for f in found}) == expected


def test_units_that_cannot_carry_weight_do_not_count() -> None:
    rows, totals = [[1.0, 1.0, 1.0], [2.0, 5.0, 90.0]], [10.0, 60.0]
    problem = CalibrationProblem.build(rows, totals, initial_weights=[1.0, 1.0, 0.0])
    assert [f.value for f in ratio_conflicts(problem)] == [6.0]
    assert ratio_conflicts(problem, candidates=np.ones(3, dtype=np.bool_)) == []


def test_rows_in_proportion_are_left_to_their_own_finding() -> None:
    problem = CalibrationProblem.build([[1.0, 2.0], [3.0, 6.0]], [1.0, 4.0])
    assert ratio_conflicts(problem) == []
    assert [f.code for f in problem.findings] == ["duplicate_targets_in_conflict"]


def test_rows_of_both_signs_or_without_a_total_are_divided_by_nothing() -> None:
    problem = CalibrationProblem.build([[1.0, 2.0], [-1.0, 2.0], [5.0, 1.0]], [0.0, 9.0, -1.0])
    assert ratio_conflicts(problem) == []


def test_in_a_large_group_each_row_is_compared_with_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, totals = [[2.0, 3.0], [1.0, 1.0], [1.0, 6.0], [5.0, 5.5]], [25.0, 10.0, 70.0, 60.0]
    problem = CalibrationProblem.build(rows, totals)
    pairs = len(ratio_conflicts(problem))
    monkeypatch.setattr(conflicts, "_MOST_ROWS", 3)
    assert [f.index for f in ratio_conflicts(problem)] == [2, 3]
    assert pairs > 2


@pytest.mark.parametrize("seed", range(5))
def test_totals_of_real_weights_are_never_in_conflict(seed: int) -> None:
    assert ratio_conflicts(solved(n_targets=12, density=1.0, seed=seed).problem) == []
    assert ratio_conflicts(solved(n_targets=12, n_units=4, density=1.0, seed=seed).problem) == []


# --- sets


def _set(
    dense: FloatArray, goal: FloatArray, lower: FloatArray, upper: FloatArray, direction: FloatArray | None = None
) -> Finding | None:
    q = goal.size
    if direction is None:
        least = lsq_linear(dense, goal, (lower, np.minimum(upper, 1e6)), method="bvls")
        direction = goal - dense @ least.x
    return conflicting_set(
        [f"t{i}" for i in range(q)], np.arange(q), sp.csr_array(dense), goal, lower, upper, direction
    )


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 2**31), signed=st.booleans(), moved=st.booleans())
def test_a_set_is_named_where_no_weights_meet_all_totals_and_never_else(seed: int, signed: bool, moved: bool) -> None:
    rng = np.random.default_rng(seed)
    q, n = int(rng.integers(2, 8)), int(rng.integers(3, 12))
    dense = rng.normal(0.5, 1, (q, n)) if signed else rng.random((q, n))
    dense *= rng.random((q, n)) < 0.6
    lower = np.where(rng.random(n) < 0.3, rng.random(n), 0.0)
    upper = np.where(rng.random(n) < 0.4, lower + 3 * rng.random(n), np.inf)
    goal = dense @ np.clip(rng.exponential(1, n), lower, upper)
    goal = goal * (1 + rng.normal(0, 0.5, q)) if moved else goal
    bounds = list(zip(lower.tolist(), upper.tolist(), strict=True))
    feasible = linprog(np.zeros(n), A_eq=dense, b_eq=goal, bounds=bounds).status == 0
    alone = all(linprog(np.zeros(n), A_eq=dense[[i]], b_eq=goal[[i]], bounds=bounds).status == 0 for i in range(q))
    found = _set(dense, goal, lower, upper)
    assert not (feasible and found)
    if not feasible and alone:
        assert found is not None
        assert found.severity == "error"


def _three(total: float) -> tuple[FloatArray, FloatArray]:
    """Give three rows, any two of which can be met: the third is at most 3 times the first plus 2 times the second."""
    return np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [3.0, 2.0, 5.0]]), np.array([10.0, 10.0, total])


def test_a_set_is_put_into_words() -> None:
    dense, goal = _three(60.0)
    found = _set(dense, goal, np.zeros(3), np.full(3, np.inf))
    assert found is not None
    assert found.code == "infeasible_set"
    assert (found.target, found.index) == ("t2", 2)
    assert found.message == (
        "these 3 targets cannot be met together: 't2' - 3 x 't0' - 2 x 't1' is at most 0 whatever the weights, "
        "and the totals ask for 10; at least one of them has to move by 9.09 % or more"
    )
    assert found.value == pytest.approx(10 / 110)


def test_a_set_asked_for_too_little_says_at_least() -> None:
    dense, goal = _three(40.0)
    found = _set(dense, goal, np.zeros(3), np.full(3, np.inf))
    assert found is not None
    assert "'t0' - 2 x 't1' is at least 0 whatever the weights, and the totals ask for -10;" in found.message


def test_scaled_rows_are_told_in_the_problem_s_own_units() -> None:
    dense, goal = _three(60.0)
    scale = np.array([0.1, 0.02, 4.0])
    found = conflicting_set(
        ["a", "b", "c"],
        np.array([5, 7, 9]),
        sp.csr_array(dense * scale[:, None]),
        goal * scale,
        np.zeros(3),
        np.full(3, np.inf),
        np.ones(3),
        row_scale=scale,
    )
    assert found is not None
    assert "'c' - 3 x 'a' - 2 x 'b' is at most 0 whatever the weights, and the totals ask for 10;" in found.message
    assert (found.target, found.index) == ("c", 9)


def test_bounds_enter_the_proof() -> None:
    """Each total alone is within reach of weights up to 5; with the first at 1 the second is 6 at most."""
    dense, goal = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([1.0, 7.0])
    assert _set(dense, goal, np.zeros(2), np.full(2, np.inf)) is None
    found = _set(dense, goal, np.zeros(2), np.full(2, 5.0))
    assert found is not None
    assert "'t1' - 't0' is at most 5 whatever the weights, and the totals ask for 6" in found.message


def test_one_total_out_of_reach_does_not_hide_a_set() -> None:
    dense, goal = _three(60.0)
    dense, goal = np.vstack([dense, [[-1.0, 0.0, 0.0]]]), np.append(goal, 100.0)
    found = _set(dense, goal, np.zeros(3), np.full(3, np.inf))
    assert found is not None
    assert found.message.startswith("these 3 targets")
    assert "t3" not in found.message


def test_a_known_conflict_is_named_only_where_there_is_no_other() -> None:
    dense, goal = _three(60.0)
    both = sp.csr_array(sp.block_diag([dense, dense]))
    names = [f"t{i}" for i in range(6)]
    totals = np.concatenate([goal, goal + np.array([0.0, 0.0, 90.0])])
    box = (np.zeros(6), np.full(6, np.inf))
    for known, target in (((), "t5"), ((5,), "t2"), ((2, 5), "t5")):
        found = conflicting_set(names, np.arange(6), both, totals, *box, np.ones(6), known=known)
        assert found is not None
        assert found.target == target


@pytest.mark.parametrize("direction", [np.zeros(3), np.full(3, np.nan)])
def test_without_a_direction_nothing_is_looked_for(direction: FloatArray) -> None:
    dense, goal = _three(60.0)
    assert _set(dense, goal, np.zeros(3), np.full(3, np.inf), direction) is None


def test_a_long_set_names_its_first_targets_only() -> None:
    n = 9
    dense = np.vstack([np.eye(n), np.ones((1, n))])
    found = _set(dense, np.append(np.ones(n), 20.0), np.zeros(n), np.full(n, np.inf))
    assert found is not None
    assert found.message.startswith("these 10 targets cannot be met together: 't9' - ")
    assert "and terms of 4 more is at most 0" in found.message


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31))
@example(seed=2_147_483_647)  # a multiplier is infinite there, and what it is measured by 0
def test_numbers_beyond_any_solver_prove_nothing_and_break_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, n = (int(size) for size in rng.integers(1, 6, 2))
    dense = rng.choice([0.0, 1.0, 5e-324, 1e308, -1e308, 3.0], size=(q, n))
    upper = np.where(rng.random(n) < 0.5, np.inf, 1e308)
    found = _set(dense, rng.choice([5e-324, 1.0, 1e308, 0.0], size=q), np.zeros(n), upper, np.ones(q))
    assert found is None or np.isfinite(found.value or 0.0)
