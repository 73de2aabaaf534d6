"""Units of length 1 and supports: what is kept up to date equals what is computed anew."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.arrays import FloatArray
from l0core.calibration.support import Columns, Complement, Support, gains

seeds = st.integers(0, 2**31)


def _columns(dense: FloatArray, goal: FloatArray) -> Columns:
    n = dense.shape[1]
    nothing, without_end = np.zeros(n), np.full(n, np.inf)
    return Columns.of(sp.csc_array(dense), goal, lower=nothing, upper=without_end, required=np.zeros(n, dtype=np.bool_))


def _random(seed: int) -> tuple[FloatArray, Columns]:
    """Give 12 rows, 8 units, the last of them empty."""
    rng = np.random.default_rng(seed)
    dense = rng.random((12, 8)) * (rng.random((12, 8)) < 0.6)
    dense[rng.integers(12, size=8), np.arange(8)] += 1
    dense[:, 7] = 0
    return dense, _columns(dense, rng.random(12))


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_a_gram_matrix_that_grew_and_shrank_is_that_of_the_columns_left(seed: int) -> None:
    _, columns = _random(seed)
    grown = Support.empty(columns).plus(columns, np.array([5, 2])).plus(columns, np.array([7, 0, 3]))
    left = grown.only(np.array([True, False, True, True, False]))
    assert left.kept.tolist() == [5, 7, 0]
    assert np.allclose(left.gram, (left.columns @ left.columns.T).toarray(), atol=1e-14)
    assert np.allclose(left.gram.diagonal(), [1, 0, 1])


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_weights_come_back_from_columns_of_length_one(seed: int) -> None:
    dense, columns = _random(seed)
    kept, weights = np.array([6, 1, 7]), np.array([2.0, 3.0, 5.0])
    found = columns.pursuit(Support.empty(columns).plus(columns, kept, weights * columns.length[kept]))
    assert found.kept.tolist() == [1, 6, 7]
    assert np.allclose(found.weights, [3, 2, 5])
    assert np.allclose(found.residual, columns.goal - dense[:, kept] @ weights)


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_what_is_taken_is_at_right_angles_to_all_before(seed: int) -> None:
    _, columns = _random(seed)
    support = Support.empty(columns).plus(columns, np.array([0, 1, 2]))
    complement = Complement(support)
    first, second = complement.take(columns.one(3)), complement.take(columns.one(4))
    assert first is not None
    assert second is not None
    assert np.abs(support.columns @ np.stack([first, second], axis=1)).max() < 1e-7
    assert abs(first @ second) < 1e-7
    assert complement.take(columns.one(3)) is None
    assert complement.take(columns.one(7)) is None


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_a_gain_is_the_fall_of_the_loss_when_a_unit_is_added_and_all_are_refitted(seed: int) -> None:
    dense, columns = _random(seed)
    kept = np.array([0, 1, 2])

    def loss(units: list[int]) -> float:
        weights = np.linalg.lstsq(dense[:, units], columns.goal, rcond=None)[0]
        return float(np.sum((columns.goal - dense[:, units] @ weights) ** 2))

    weights = np.linalg.lstsq(dense[:, kept], columns.goal, rcond=None)[0]
    direction = Complement(Support.empty(columns).plus(columns, kept)).take(columns.one(4))
    assert direction is not None
    newness = float(direction @ columns.one(4)) ** 2
    pull = columns.along(columns.goal - dense[:, kept] @ weights)[4]
    free = np.array([np.inf])
    foretold = gains(np.array([pull]), np.array([newness]), -free, free)[0]
    assert np.isclose(foretold, loss([0, 1, 2]) - loss([0, 1, 2, 4]), atol=1e-9)
