"""Rows that repeat one another: found whatever the factor, and only where every entry agrees."""

from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.calibration.alike import alike, same_support
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.row_facts import row_facts


def _pairs(dense: np.ndarray) -> dict[tuple[int, int], float]:
    matrix = sp.csr_array(dense)
    return {
        (pair.first, pair.second): pair.factor for pair in alike(matrix, row_facts(matrix, np.ones(dense.shape[1])))
    }


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_each_set_of_rows_in_proportion_is_told_from_its_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(-2, 3, size=(4, 5)).astype(float)
    dense = kinds[rng.integers(4, size=9)] * rng.choice([1.0, 1 / 3, -0.7, 1e-5], size=(9, 1))
    expected = {}
    for second in range(9):
        like = [i for i in range(second) if dense[second].any() and np.linalg.matrix_rank(dense[[i, second]]) == 1]
        like = [i for i in like if dense[i].any()]
        if like:
            at = np.flatnonzero(dense[second])[0]
            expected[like[0], second] = pytest.approx(dense[second, at] / dense[like[0], at])
    assert _pairs(dense) == expected


def test_rows_that_are_only_nearly_in_proportion_are_not_alike() -> None:
    row = np.linspace(1, 2, 50)
    other = row.copy()
    other[7] *= 1 + 1e-10
    assert _pairs(np.array([row, 3 * row, other])) == {(0, 1): pytest.approx(3.0)}


def test_rows_with_one_hash_are_compared_column_by_column() -> None:
    """Hashes made equal by hand: the columns differ, so the rows are not alike."""
    matrix = sp.csr_array([[1.0, 0.0], [0.0, 1.0]])
    facts = row_facts(matrix, np.ones(2))
    facts.support[1], facts.profile[1] = facts.support[0], facts.profile[0]
    assert list(alike(matrix, facts)) == []


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_rows_of_one_support_stand_in_one_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    present = (rng.random((8, 3)) < 0.5).astype(float)
    matrix = sp.csr_array(present * rng.uniform(0.5, 2, (8, 3)))
    grouped = {pair for group in same_support(matrix, row_facts(matrix, np.ones(3))) for pair in combinations(group, 2)}
    assert grouped == {
        (i, k) for i, k in combinations(range(8), 2) if present[i].any() and (present[i] == present[k]).all()
    }


@pytest.mark.parametrize(
    ("totals", "codes"),
    [
        ([2.0, 6.0], ["duplicate_targets"]),
        ([2.0, 6.0 * (1 + 1e-12)], ["duplicate_targets"]),
        ([2.0, 6.0 * (1 + 1e-8)], ["duplicate_targets_in_conflict"]),
        ([2.0, 0.0], ["duplicate_targets_in_conflict"]),
        ([0.0, 0.0], ["duplicate_targets"]),
    ],
)
def test_totals_conflict_where_they_differ_by_more_than_rounding(totals: list[float], codes: list[str]) -> None:
    problem = CalibrationProblem.build([[1.0, 2.0], [3.0, 6.0]], totals)
    assert [f.code for f in problem.findings if f.code.startswith("duplicate")] == codes
