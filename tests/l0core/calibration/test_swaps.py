"""Swaps: never worse, the foretold fall of the loss is the real one, and what a pursuit misses is found."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.calibration import swaps as module
from l0core.calibration.support import Columns, Positions, Pursuit, Support
from l0core.calibration.swaps import swap
from tests.l0core.calibration.test_matching_pursuit import Case, check, plain, random_case
from tests.problems import solved

seeds = st.integers(0, 2**31)


def _swapped(case: Case, before: Pursuit, refits: int = 400) -> Pursuit:
    return swap(case.matrix, case.goal, before.kept, before.weights, refits=refits, **case.bounds)


def _any_units(case: Case, seed: int) -> Pursuit:
    """Give k units at random, the required ones among them, with random weights within the bounds."""
    rng, required = np.random.default_rng(seed), case.bounds["required"]
    kept = np.sort(np.argsort(np.where(required, -1.0, rng.random(required.size)))[: case.k])
    weights = np.clip(rng.random(case.k), case.bounds["lower"][kept], case.bounds["upper"][kept])
    return Pursuit(kept=kept, weights=weights, residual=case.goal - case.matrix[:, kept] @ weights)


@settings(deadline=None, max_examples=80)
@given(seed=seeds)
def test_it_is_never_worse_and_keeps_count_bounds_and_required_units(seed: int) -> None:
    case = random_case(seed)
    if case.k == 0:
        return
    before = _any_units(case, seed)
    after = _swapped(case, before)
    check(case, after)
    assert after.loss <= before.loss * (1 + 1e-12) + 1e-20


def _small(seed: int) -> Case:
    whole = solved(n_targets=12, n_units=40, seed=seed).problem
    return plain(whole.matrix.toarray() / whole.targets[:, None], np.ones(12), 5)


def _loss(case: Case, kept: Positions) -> float:
    dense = case.matrix[:, kept].toarray()
    weights = np.linalg.lstsq(dense, case.goal, rcond=None)[0]
    return float(np.sum((case.goal - dense @ weights) ** 2))


@pytest.mark.parametrize("seed", range(5))
def test_the_fall_foretold_for_every_pair_is_that_of_the_refit(seed: int) -> None:
    """With no weight on a bound before or after; those of some pairs are negative when refitted, hence no bounds."""
    case = _small(seed)
    free = np.full(40, np.inf)
    columns = Columns.of(case.matrix, case.goal, lower=-free, upper=free, required=case.bounds["required"])
    support = Support.empty(columns).plus(columns, np.arange(5)).fitted(columns, np.full(5, -np.inf))
    residual = support.residual(case.goal)
    leaving = module._leaving(columns, support, residual)
    newness = module._newness(columns, support, leaving)
    falls = module._falls(columns, support, leaving, np.arange(5), columns.along(residual), newness)
    before = _loss(case, support.kept)
    for unit in range(5, 40):
        for position in range(5):
            exchanged = np.where(np.arange(5) == position, unit, np.arange(5))
            assert np.isclose(falls[unit, position], before - _loss(case, exchanged), atol=1e-9)


def test_the_rise_foretold_for_a_unit_on_its_bound_is_that_of_the_refit() -> None:
    case = _small(0)
    lower = np.where(np.arange(40) == 2, 20.0, -np.inf)
    columns = Columns.of(case.matrix, case.goal, lower=lower, upper=np.full(40, np.inf), required=np.zeros(40, bool))
    held = Support.empty(columns).plus(columns, np.arange(5)).fitted(columns, columns.lower[:5])
    assert held.x[2] == columns.lower[2]
    rise = module._leaving(columns, held, held.residual(case.goal)).rise[2]
    assert np.isclose(held.loss(case.goal) + rise, _loss(case, np.array([0, 1, 3, 4])), atol=1e-9)


def test_the_pair_that_a_pursuit_passes_by_is_found() -> None:
    """The first unit is nearest to the goal, and of no use to the two that make it up."""
    case = plain([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.3, 0.0, 0.0]], [1.0, 0.6, 0.0], 2)
    pursued = case.pursue()
    assert pursued.kept.tolist() == [0, 1]
    assert _swapped(case, pursued).kept.tolist() == [1, 2]
    assert _swapped(case, pursued).loss < 1e-24


def _best_exchange(case: Case, before: Pursuit) -> float:
    """Give the lowest loss one exchange away, by trying all of them."""
    losses = []
    for position in range(case.k):
        for unit in np.setdiff1d(np.arange(40), before.kept):
            kept = np.sort(np.where(np.arange(case.k) == position, unit, before.kept))
            alone = plain(case.matrix[:, kept].toarray(), case.goal, case.k)
            losses.append(alone.pursue().loss)
    return min(losses)


@pytest.mark.parametrize("seed", range(6))
def test_where_it_ends_no_single_exchange_helps(seed: int) -> None:
    case = _small(seed)
    after = _swapped(case, _any_units(case, seed))
    assert after.loss <= _best_exchange(case, after) * (1 + 2e-4)


def _households(seed: int) -> Case:
    """Give counts and incomes of 12 districts, 4 states and the nation: columns that are much alike; 15 of 30 rows."""
    rng = np.random.default_rng(seed)
    district, size = rng.integers(0, 12, 600), rng.integers(1, 7, 600)
    income = np.exp(10 + 0.8 * rng.standard_normal(600))
    places = [district == d for d in range(12)] + [district % 4 == s for s in range(4)] + [district >= 0]
    matrix = np.stack([here * amount for here in places for amount in (size, income)])[4:]
    goal = matrix @ rng.lognormal(0, 0.6, 600)
    return plain(matrix / goal[:, None], np.ones(30), 15)


def test_it_improves_on_a_pursuit_by_a_tenth_or_more() -> None:
    """In the median of eight."""
    ratios = []
    for case in map(_households, range(8)):
        pursued = case.pursue()
        ratios.append(_swapped(case, pursued).loss / pursued.loss)
    assert float(np.median(ratios)) < 0.9


def test_without_a_refit_to_spend_it_only_fits_what_came() -> None:
    case = _small(1)
    before = _any_units(case, 1)
    after = _swapped(case, before, refits=0)
    assert after.kept.tolist() == before.kept.tolist()
    assert after.loss < before.loss


def test_told_to_stop_it_looks_at_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    case = _small(1)
    before = _any_units(case, 1)
    monkeypatch.setattr(module, "_promising", lambda *_: pytest.fail("looked at"))
    stopped = swap(case.matrix, case.goal, before.kept, before.weights, should_stop=lambda: True, **case.bounds)
    assert stopped.kept.tolist() == before.kept.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_a_short_list_of_units_that_leave_and_come_holds_some_of_the_gain(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = _households(seed)
    before = _any_units(case, seed)
    for name, value in {"_PAIRS": 0, "_LEAVERS": 4, "_FEW": 0, "_NEAREST": 10}.items():
        monkeypatch.setattr(module, name, value)
    assert _swapped(case, before).loss < 0.5 * before.loss


def test_the_same_call_gives_the_same_bits() -> None:
    case = _small(2)
    before = _any_units(case, 2)
    assert _swapped(case, before).weights.tobytes() == _swapped(case, before).weights.tobytes()


def test_the_columns_may_be_of_a_matrix_without_a_single_entry() -> None:
    case = plain(sp.csc_array((3, 4)).toarray(), [1.0, 1.0, 1.0], 2)
    assert _swapped(case, case.pursue()).kept.tolist() == [0, 1]
