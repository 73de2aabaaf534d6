"""The random part: inclusion probabilities that are kept, a size that is exact, totals without bias."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0core.arrays import FloatArray
from l0core.sampling.chances import chances, chosen, with_random
from l0core.sampling.problem import SamplingProblem
from tests.l0core.sampling.made import minnesota, of_units

sizes = st.lists(st.floats(1e-2, 1e3), min_size=2, max_size=40).map(np.array)  # who comes within 1e-9 of 1 is certain


@given(weights=sizes, data=st.data())
def test_probabilities_sum_to_the_count_and_none_is_above_one(weights: FloatArray, data: st.DataObject) -> None:
    sure = np.array(data.draw(st.lists(st.integers(0, weights.size - 1), unique=True, max_size=weights.size - 1)), int)
    count = data.draw(st.integers(1, weights.size - sure.size))
    found = chances(sure, weights, count)
    assert found.sum() == pytest.approx(count)
    assert ((found >= 0) & (found <= 1)).all()
    assert not found[sure].any()


@given(weights=sizes, data=st.data())
def test_below_one_they_are_in_proportion_to_the_design_weights(weights: FloatArray, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, weights.size))
    found = chances(np.zeros(0, int), weights, count)
    drawn = found < 1
    ratios = found[drawn] / weights[drawn]
    assert ratios.size == 0 or np.allclose(ratios, ratios[0], rtol=1e-9)
    assert drawn.all() or ratios.size == 0 or (weights[~drawn] * ratios[0] >= 1 - 1e-6).all()


@given(weights=sizes, seed=st.integers(0, 2**31), data=st.data())
def test_exactly_so_many_are_drawn_and_nobody_twice(weights: FloatArray, seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, weights.size - 1))
    sample = with_random(np.array([0]), weights, count, np.random.default_rng(seed))
    assert sample.units.size == np.unique(sample.units).size == count + 1
    assert (sample.random.sum(), sample.types[0], sample.chance[0]) == (count, "l0", 1.0)
    assert (sample.types[1:] == "random").all()
    assert ((sample.chance > 0) & (sample.chance <= 1)).all()


def test_a_unit_is_drawn_as_often_as_its_probability_says() -> None:
    weights, draws = np.array([1.0, 2.0, 3.0, 4.0, 30.0, 5.0]), 4_000
    rng, counted = np.random.default_rng(0), np.zeros(6)
    for _ in range(draws):
        counted[with_random(np.array([5]), weights, 3, rng).units] += 1
    expected = chances(np.array([5]), weights, 3)
    expected[5] = 1.0
    error = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(counted / draws - expected) <= 4 * error + 1e-12).all()


@pytest.mark.parametrize(("made", "count"), [(partial(of_units, n_units=300), 30), (lambda: minnesota()[0], 250)])
def test_horvitz_thompson_totals_are_unbiased_over_a_thousand_draws(
    made: Callable[[], SamplingProblem], count: int
) -> None:
    problem = made()
    by_selection, rng = np.arange(0, problem.n_units, 15), np.random.default_rng(3)
    totals = []
    for _ in range(1_000):
        sample = with_random(by_selection, problem.design_weights, count, rng)
        totals.append(problem.features[sample.units].T @ sample.expanded(problem.design_weights))
    mean, error = np.mean(totals, axis=0), np.std(totals, axis=0, ddof=1) / np.sqrt(1_000)
    assert (np.abs(mean - problem.whole) <= 3 * error).all()
    assert (error > 0).all()


def test_units_of_a_selection_are_certain() -> None:
    sample = chosen(np.array([4, 1]))
    assert sample.units.tolist() == [1, 4]
    assert sample.types.tolist() == ["l0", "l0"]
    assert sample.expanded(np.arange(5.0)).tolist() == [1.0, 4.0]
