"""Strata: shares that are exact, draws without repetition, and classes along what sets units apart most."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from l0core.sampling.comparing import stratified
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.strata import allocated, first_component, strata_of
from tests.l0core.sampling.made import of_units


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=12), share=st.floats(0, 1))
def test_a_count_is_shared_out_exactly_and_within_one_of_proportion(sizes: list[int], share: float) -> None:
    counted = np.array(sizes)
    count = round(share * counted.sum())
    shares = allocated(counted, count)
    assert shares.sum() == count
    assert ((shares >= 0) & (shares <= counted)).all()
    assert (np.abs(shares - counted / counted.sum() * count) < 1 + 1e-9).all()


@given(seed=st.integers(0, 2**31), count=st.integers(1, 40))
def test_a_stratified_draw_has_the_size_and_the_shares(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, 4, 40)
    drawn = stratified(strata, count, rng)
    assert drawn.size == np.unique(drawn).size == count
    labels, sizes = np.unique(strata, return_counts=True)
    assert [(strata[drawn] == label).sum() for label in labels] == allocated(sizes, count).tolist()


def test_strata_that_were_given_are_the_strata() -> None:
    given_ = np.arange(200) % 3
    assert strata_of(of_units(strata=given_)).tolist() == given_.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_the_first_component_is_that_of_a_singular_value_decomposition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(100, 1)) @ [[1.0, -2.0, 5.0, 0.0]] + rng.normal(size=(100, 4)) * [1, 1, 1, 0] + 7.0
    varying = columns[:, :3]
    scaled = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    theirs = np.linalg.svd(scaled)[0][:, 0]
    assert abs(np.corrcoef(first_component(sp.csr_array(columns)), theirs)[0, 1]) > 0.9999


def test_units_that_do_not_differ_are_one_stratum() -> None:
    assert set(strata_of(SamplingProblem.build(np.ones((9, 2))))) <= {0, 1}
    assert len(set(strata_of(SamplingProblem.build(np.ones((9, 2)))))) == 1
