"""The facts of rows: each against its definition, row by row, however the rows are cut into runs."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core import matrices
from l0core.calibration.row_facts import column_hashes, row_facts


@pytest.mark.parametrize("at_once", [1, 4, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_every_fact_is_what_its_definition_says(seed: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "_ENTRIES_AT_ONCE", at_once)
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(12, 8)) * (rng.random((12, 8)) < 0.4)
    dense[[0, 5, 11]] = 0
    weights = rng.random(8) * (rng.random(8) < 0.7)
    facts = row_facts(sp.csr_array(dense), weights)
    shares = np.abs(dense) * weights
    np.testing.assert_array_equal(facts.positive, (dense > 0).any(axis=1))
    np.testing.assert_array_equal(facts.negative, (dense < 0).any(axis=1))
    np.testing.assert_array_equal(facts.smallest_share, np.where(shares > 0, shares, np.inf).min(axis=1))
    np.testing.assert_allclose(facts.shares, shares.sum(axis=1), rtol=1e-14)
    hashes = column_hashes(np.arange(8))
    np.testing.assert_array_equal(facts.support, ((dense != 0) * hashes).sum(axis=1, dtype=np.uint64))


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), factor=st.sampled_from([1.0, -1.0, 0.1, -7e8, 3e-200, 1e150]))
def test_rows_in_proportion_share_a_profile_and_others_do_not(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    row = rng.normal(size=5) + np.where(rng.random(5) < 0.5, 3, -3)
    other = row.copy()
    other[rng.integers(5)] *= 1 + 1e-6
    facts = row_facts(sp.csr_array(np.array([row, factor * row, other])), np.zeros(5))
    assert abs(facts.profile[0] - facts.profile[1]) < 1e-14
    assert abs(facts.profile[0] - facts.profile[2]) > 1e-12
    assert np.abs(facts.profile).max() <= 1


def test_the_columns_hashes_differ_in_about_half_of_their_bits() -> None:
    hashes = column_hashes(np.arange(1000))
    assert np.unique(hashes).size == 1000
    flips = np.bitwise_count(hashes[1:] ^ hashes[:-1])
    assert 31 < flips.mean() < 33
