"""Matching pursuit: exactly k units within their bounds, the best one first, the planted ones found."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from l0core.arrays import FloatArray
from l0core.calibration import matching_pursuit as module
from l0core.calibration.matching_pursuit import pursue
from l0core.calibration.support import Columns, Pursuit
from l0core.errors import InfeasibleBudget
from tests.problems import solved

seeds = st.integers(0, 2**31)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A problem of a pursuit."""

    matrix: sp.csc_array
    goal: FloatArray
    k: int
    bounds: dict[str, Any]

    def pursue(self, **other: Any) -> Pursuit:
        return pursue(self.matrix, self.goal, self.k, **(self.bounds | other))


def plain(matrix: Any, goal: Any, k: int, **bounds: Any) -> Case:
    """Give a case without bounds but those named."""
    columns = sp.csc_array(np.array(matrix, dtype=float))
    n = columns.shape[1]
    free = {"lower": np.zeros(n), "upper": np.full(n, np.inf), "required": np.zeros(n, dtype=bool)}
    return Case(matrix=columns, goal=np.array(goal, dtype=float), k=k, bounds=free | bounds)


def random_case(seed: int) -> Case:
    """Give 1 to 20 rows, 1 to 40 units (copies, empty ones and negative entries among them), any k, all bounds."""
    rng = np.random.default_rng(seed)
    q, n = rng.integers(1, 21), rng.integers(1, 41)
    matrix = rng.lognormal(size=(q, n)) * (rng.random((q, n)) < rng.uniform(0.05, 0.6))
    if rng.random() < 0.2:
        matrix[:, rng.integers(n)] = matrix[:, rng.integers(n)]
    if rng.random() < 0.2:
        matrix *= rng.choice([-1, 1], matrix.shape)
    goal = np.where(rng.random(q) < 0.9, 1.0, rng.choice([0.0, -1.0]))
    lower = np.zeros(n) if rng.random() < 0.3 else 0.01 * rng.random(n)
    upper = np.full(n, np.inf) if rng.random() < 0.5 else lower + rng.random(n)
    required = rng.random(n) < (0.0 if rng.random() < 0.5 else 0.2)
    k = int(rng.integers(required.sum(), n + 1))
    return plain(matrix, goal, k, lower=lower, upper=upper, required=required)


def check(case: Case, found: Pursuit) -> None:
    """Hold a result to its promises."""
    assert found.kept.size == np.unique(found.kept).size == case.k
    assert (np.diff(found.kept) > 0).all()
    assert np.isin(np.flatnonzero(case.bounds["required"]), found.kept).all()
    assert (found.weights >= case.bounds["lower"][found.kept] * (1 - 1e-15)).all()
    assert (found.weights <= case.bounds["upper"][found.kept] * (1 + 1e-15)).all()
    assert np.allclose(found.residual, case.goal - case.matrix[:, found.kept] @ found.weights, atol=1e-12)


@settings(deadline=None, max_examples=120)
@given(seed=seeds)
def test_it_keeps_exactly_k_units_within_their_bounds_and_all_that_are_required(seed: int) -> None:
    case = random_case(seed)
    check(case, case.pursue())


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_told_to_stop_it_still_keeps_exactly_k_units(seed: int) -> None:
    case = random_case(seed)
    check(case, case.pursue(should_stop=lambda: True))


@settings(deadline=None, max_examples=40)
@given(seed=seeds)
def test_the_first_unit_is_the_best_single_one(seed: int) -> None:
    case = random_case(seed)
    n = case.matrix.shape[1]
    one = plain(case.matrix.toarray(), case.goal, 1, upper=case.bounds["upper"])
    losses = [plain(case.matrix[:, [j]].toarray(), case.goal, 1, upper=case.bounds["upper"][[j]]) for j in range(n)]
    assert one.pursue().loss <= min(alone.pursue().loss for alone in losses) + 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_planted_units_are_found(seed: int) -> None:
    """Eight of 200 in 60 rows: columns at random, of random lengths, are far from one another."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((60, 200)) * rng.lognormal(0, 2, 200)
    planted = np.sort(rng.choice(200, 8, replace=False))
    found = plain(matrix, matrix[:, planted] @ rng.uniform(1, 3, 8), 8).pursue()
    assert found.kept.tolist() == planted.tolist()
    assert found.loss < 1e-18 * float((matrix**2).max())


@pytest.mark.parametrize("seed", range(3))
def test_its_weights_are_the_best_its_units_allow(seed: int) -> None:
    whole = solved(n_targets=40, n_units=400, seed=seed).problem
    case = plain(whole.matrix.toarray(), whole.targets, 15)
    found = case.pursue()
    _, distance = nnls(case.matrix[:, found.kept].toarray(), case.goal)
    assert found.loss <= distance**2 * (1 + 1e-9)


def _correlated(case: Case) -> float:
    """Give the loss of plain orthogonal matching pursuit: by correlation alone."""
    dense, kept = case.matrix.toarray(), list[int]()
    residual = case.goal
    for _ in range(case.k):
        pull = (dense.T @ residual) / np.linalg.norm(dense, axis=0)
        pull[kept] = -np.inf
        kept.append(int(np.argmax(pull)))
        residual = case.goal - dense[:, kept] @ nnls(dense[:, kept], case.goal)[0]
    return float(residual @ residual)


def test_judging_by_the_loss_after_the_refit_beats_judging_by_correlation() -> None:
    """In the median of eight problems whose columns are alike, at a third of the rows."""
    ratios = []
    for seed in range(8):
        whole = solved(n_targets=60, n_units=600, seed=seed).problem
        case = plain(whole.matrix.toarray() / whole.targets[:, None], np.ones(60), 20)
        ratios.append(case.pursue().loss / _correlated(case))
    assert float(np.median(ratios)) < 0.95


def test_a_unit_whose_weight_falls_to_zero_leaves_for_another() -> None:
    """The third unit comes first and is of no use beside the first two, the fourth then takes its place."""
    matrix = [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.2, 0.0], [0.0, 0.0, 0.0, 1.0]]
    assert plain(matrix, [1.0, 1.0, 0.0, 0.01], 1).pursue().kept.tolist() == [2]
    assert plain(matrix, [1.0, 1.0, -0.1, 0.01], 3).pursue().kept.tolist() == [0, 1, 3]


def _projected(dense: FloatArray, kept: Any) -> FloatArray:
    """Give the square of what each column, of length 1, has beyond the span of the kept ones."""
    unit = dense / np.linalg.norm(dense, axis=0)
    beyond = unit - unit[:, kept] @ np.linalg.lstsq(unit[:, kept], unit, rcond=None)[0]
    return np.asarray(np.sum(beyond**2, axis=0))


def test_what_is_new_in_each_unit_is_known_after_units_came_and_left() -> None:
    left = 0
    for seed in range(8):
        whole = solved(n_targets=12, n_units=80, seed=seed).problem
        goal = whole.targets * np.random.default_rng(seed).uniform(0.5, 1.5, 12)
        case = plain(whole.matrix.toarray(), goal, 0)
        search = module._Search.start(Columns.of(case.matrix, case.goal, **case.bounds))
        while (chosen := search.choose(1)).size and left < 5:
            before = search.support.kept.size
            search.refit_with(chosen)
            assert np.allclose(search._newness, _projected(case.matrix.toarray(), search.support.kept), atol=1e-5)
            left += search.support.kept.size <= before
    assert left > 0


def test_units_chosen_several_at_once_are_about_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = solved(n_targets=60, n_units=600, seed=0).problem
    case = plain(whole.matrix.toarray() / whole.targets[:, None], np.ones(60), 30)
    alone = case.pursue().loss
    monkeypatch.setattr(module, "_STEPS", 3)
    assert case.pursue().loss < 1.3 * alone


def test_the_first_of_two_equal_units_is_kept() -> None:
    assert plain([[1.0, 1.0], [2.0, 2.0]], [1.0, 2.0], 1).pursue().kept.tolist() == [0]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_units_does_not_matter(seed: int) -> None:
    whole = solved(n_targets=30, n_units=200, seed=seed).problem
    dense, order = whole.matrix.toarray(), np.random.default_rng(seed).permutation(200)
    there = plain(dense, whole.targets, 12).pursue().kept
    back = order[plain(dense[:, order], whole.targets, 12).pursue().kept]
    assert np.sort(back).tolist() == there.tolist()


def test_the_unit_in_which_a_column_is_counted_does_not_matter() -> None:
    whole = solved(n_targets=30, n_units=200, seed=1).problem
    dense, counted = whole.matrix.toarray(), 10.0 ** np.random.default_rng(1).integers(-6, 7, 200)
    one, other = plain(dense, whole.targets, 12).pursue(), plain(dense * counted, whole.targets, 12).pursue()
    assert one.kept.tolist() == other.kept.tolist()
    assert np.allclose(other.weights * counted[other.kept], one.weights)


def test_a_row_multiplied_by_the_root_of_two_counts_as_two_rows() -> None:
    """What reweighted squares rest on."""
    whole = solved(n_targets=20, n_units=100, seed=2).problem
    dense, twice = whole.matrix.toarray(), np.r_[0, np.arange(20)]
    heavy = np.where(np.arange(20) == 0, np.sqrt(2), 1.0)
    one = plain(dense * heavy[:, None], whole.targets * heavy, 10).pursue()
    assert one.kept.tolist() == plain(dense[twice], whole.targets[twice], 10).pursue().kept.tolist()


def test_beyond_the_number_of_targets_the_fit_stays_exact_and_the_weights_are_shared() -> None:
    """Non-negative least squares leaves as many weights above zero as there are targets; these are far more even."""
    whole = solved(n_targets=20, n_units=400, seed=0).problem
    found = plain(whole.matrix.toarray(), whole.targets, 100, lower=0.01 * whole.design_weights).pursue()
    assert found.loss < 1e-20 * float(whole.targets @ whole.targets)
    assert found.weights.sum() ** 2 / (found.weights @ found.weights) > 60


def test_where_no_unit_helps_the_ones_that_hurt_least_fill_up() -> None:
    found = plain([[5.0, 1.0, 3.0]], [-1.0], 1, lower=np.array([0.01, 0.01, 0.01])).pursue()
    assert found.weights.tolist() == [0.01]
    assert plain([[0.0, 0.0, 1.0]], [2.0], 2).pursue().kept.tolist() == [0, 2]


def test_every_unit_may_be_kept() -> None:
    case = plain(np.eye(4), np.arange(4.0), 4)
    assert case.pursue().weights.round(12).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_the_same_call_gives_the_same_bits_and_reports_a_falling_loss() -> None:
    whole = solved(n_targets=40, n_units=400, seed=3).problem
    seen: list[tuple[int, float]] = []
    case = plain(whole.matrix.toarray(), whole.targets, 60)
    one = case.pursue(report=lambda units, loss: seen.append((units, loss)))
    assert one.weights.tobytes() == case.pursue().weights.tobytes()
    assert all(after <= before * (1 + 1e-9) for (_, before), (_, after) in pairwise(seen))


@pytest.mark.parametrize("k", [1, 5])
def test_a_count_that_cannot_be_kept_is_refused(k: int) -> None:
    with pytest.raises(InfeasibleBudget, match=f"k is {k}"):
        plain(np.eye(4), np.ones(4), k, required=np.array([True, True, False, False])).pursue()
