"""Coverage: ranks and classes that do not mind a column's scale, and rows that tell units apart."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from l0core.sampling.coverage import centred_ranks, coverage, functions_for, weight_classes

SEEDS = st.integers(0, 2**31)


def columns(seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    return np.c_[rng.normal(size=30), rng.integers(0, 3, 30), np.full(30, 4.0)]


@given(seed=SEEDS)
def test_ranks_do_not_change_with_what_keeps_the_order(seed: int) -> None:
    given_, weights = columns(seed), np.random.default_rng(seed).uniform(1, 2, 30)
    before, after = (centred_ranks(sp.csc_array(each), weights) for each in (given_, np.exp(given_) * 1e6))
    np.testing.assert_array_equal(before, after)


@given(seed=SEEDS)
def test_ranks_have_mean_0_and_variance_1_under_the_design_weights(seed: int) -> None:
    weights = np.random.default_rng(seed).uniform(0.1, 5, 30)
    ranks = centred_ranks(sp.csc_array(columns(seed)), weights)
    assert ranks.shape == (30, 2)  # the constant column tells nothing
    np.testing.assert_allclose(weights @ ranks, 0, atol=1e-9)
    np.testing.assert_allclose(weights @ ranks**2 / weights.sum(), 1)


@pytest.mark.parametrize("functions", [0, 1, 7, 8])
def test_there_are_as_many_functions_as_asked_for(functions: int) -> None:
    rows = coverage(sp.csc_array(columns(0)), np.ones(30), functions, np.random.default_rng(0))
    assert rows.shape == (functions, 30)
    assert ((rows >= 0) & (rows <= 2)).all()


def test_units_that_are_alike_have_the_same_functions_and_others_do_not() -> None:
    given_ = columns(0)
    given_[1] = given_[0]
    rows = coverage(sp.csc_array(given_), np.ones(30), 10, np.random.default_rng(0))
    np.testing.assert_array_equal(rows[:, 0], rows[:, 1])
    assert np.unique(rows.round(9), axis=1).shape[1] == 29


def test_columns_that_do_not_vary_give_no_functions() -> None:
    assert coverage(sp.csc_array(np.ones((5, 2))), np.ones(5), 4, np.random.default_rng(0)).shape == (0, 5)


@given(seed=SEEDS)
def test_classes_of_design_weight_are_cut_by_weight_and_all_different(seed: int) -> None:
    weights = np.random.default_rng(seed).uniform(1, 9, 50).round()
    rows = weight_classes(weights)
    assert np.unique(rows, axis=0).shape == rows.shape
    for row in rows:
        assert weights[row == 1].min() > weights[row == 0].max()


def test_equal_design_weights_make_no_classes() -> None:
    assert weight_classes(np.ones(7)).shape == (0, 7)


def test_many_units_have_few_functions() -> None:
    assert functions_for(10_000, 10_000_000_000) == 0
    assert functions_for(4, 100) == 0
