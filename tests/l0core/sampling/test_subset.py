"""What a column is said to be worth is what the loss falls by, exactly for least squares."""

import numpy as np
import pytest

from l0core.sampling.explaining import Numbers
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.subset import Search, _Look

CHOSEN = np.array([1, 4, 6])


@pytest.fixture(scope="module")
def search() -> Search:
    rng = np.random.default_rng(0)
    columns = rng.normal(2, 1, (60, 8)) @ (np.eye(8) + 0.4)
    weights = rng.uniform(0.5, 2, 60)
    features = SamplingProblem.build(columns).features
    outcome = Numbers.of(columns @ rng.normal(size=8) + rng.normal(size=60), weights / weights.sum())
    return Search(outcome=outcome, features=features, squares=features**2, open_=np.ones(8, bool), count=3)


def test_an_addition_takes_off_what_it_says(search: Search) -> None:
    before, worth = search.fitted(CHOSEN).loss, _Look(search, CHOSEN).additions
    for column in np.setdiff1d(np.arange(8), CHOSEN):
        assert worth[column] == pytest.approx(before - search.fitted(np.append(CHOSEN, column)).loss)
    np.testing.assert_allclose(worth[CHOSEN], 0, atol=1e-9)


def test_a_removal_adds_what_it_says(search: Search) -> None:
    before, rises = search.fitted(CHOSEN).loss, _Look(search, CHOSEN).rises
    for out in range(3):
        assert rises[out] == pytest.approx(search.fitted(np.delete(CHOSEN, out)).loss - before)


def test_an_exchange_takes_off_what_it_says(search: Search) -> None:
    before, worth = search.fitted(CHOSEN).loss, _Look(search, CHOSEN).exchanges
    for out in range(3):
        for column in np.setdiff1d(np.arange(8), CHOSEN):
            after = search.fitted(np.append(np.delete(CHOSEN, out), column)).loss
            assert worth[column, out] == pytest.approx(before - after)


def test_the_best_exchange_is_taken(search: Search) -> None:
    before = search.fitted(CHOSEN).loss
    found = search.next_exchange(CHOSEN, before)
    assert found is not None
    assert before - search.fitted(found).loss == pytest.approx(_Look(search, CHOSEN).exchanges.max())
