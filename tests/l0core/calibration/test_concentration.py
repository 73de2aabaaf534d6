"""How evenly weights are spread: closed forms, laws, and numpy's own quantiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from l0core.arrays import FloatArray
from l0core.calibration.concentration import (
    design_effect,
    effective_sample_size,
    g_weights,
    quantiles,
    spread,
    top_share,
)

POSITIVE = npst.arrays(np.float64, st.integers(1, 40), elements=st.floats(1e-3, 1e3))


@pytest.mark.parametrize(("size", "share"), [(50, 1 / 50), (100, 1 / 100), (250, 2 / 250), (1000, 10 / 1000)])
def test_of_equal_weights_the_top_percent_holds_a_percent_or_one_unit(size: int, share: float) -> None:
    assert top_share(np.concatenate([np.zeros(7), np.full(size, 3.0)])) == pytest.approx(share)


@given(n=st.integers(1, 50), m=st.integers(0, 50), a=st.floats(0.01, 100), b=st.floats(0.01, 100))
def test_the_effective_size_of_two_kinds_of_weights_is_the_closed_form(n: int, m: int, a: float, b: float) -> None:
    weights = np.concatenate([np.full(n, a), np.full(m, b)])
    assert effective_sample_size(weights) == pytest.approx((n * a + m * b) ** 2 / (n * a**2 + m * b**2))


@given(weights=npst.arrays(np.float64, st.integers(1, 40), elements=st.floats(1e-3, 1e3)), factor=st.floats(0.01, 100))
def test_the_effective_size_is_from_one_to_the_count_and_knows_no_unit(weights: FloatArray, factor: float) -> None:
    size = effective_sample_size(weights)
    assert 1 - 1e-9 <= size <= weights.size * (1 + 1e-9)
    assert effective_sample_size(factor * weights) == pytest.approx(size)


def test_no_weight_is_no_effective_size() -> None:
    assert effective_sample_size(np.zeros(3)) == 0.0


@given(weights=POSITIVE)
def test_the_design_effect_is_one_and_the_squared_coefficient_of_variation(weights: FloatArray) -> None:
    variation = weights.std() / weights.mean()
    assert design_effect(weights) == pytest.approx(1 + variation**2)


@given(weights=POSITIVE)
def test_units_that_were_not_kept_change_no_number_of_concentration(weights: FloatArray) -> None:
    padded = np.concatenate([weights, np.zeros(13)])
    assert design_effect(padded) == pytest.approx(design_effect(weights))
    assert top_share(padded) == pytest.approx(top_share(weights))


@given(a=st.floats(0.01, 100), n=st.integers(1, 400))
def test_the_heaviest_percent_is_the_heaviest(a: float, n: int) -> None:
    weights = np.full(n, a)
    weights[n // 2] = 1e6
    top = max(1, n // 100)
    assert top_share(weights) == pytest.approx((1e6 + (top - 1) * a) / (1e6 + (n - 1) * a))


def test_a_g_weight_is_only_taken_where_there_was_a_design_weight() -> None:
    design, weights = np.array([2.0, 0.0, 3.0]), np.array([5.0, 9.0, 0.0])
    assert g_weights(design, weights).tolist() == [2.5]
    assert spread(design, weights)["max_g_weight"] == 2.5
    assert spread(design, weights)["g_weight_quantiles"]["p50"] == 2.5


def test_quantiles_lie_linearly_between_two_values() -> None:
    assert quantiles(np.array([4.0, 0.0])) == pytest.approx(
        {"min": 0, "p1": 0.04, "p5": 0.2, "p25": 1, "p50": 2, "p75": 3, "p95": 3.8, "p99": 3.96, "max": 4}
    )


@given(values=POSITIVE)
def test_quantiles_rise_and_end_in_the_smallest_and_the_largest(values: FloatArray) -> None:
    found = quantiles(values)
    assert found is not None
    assert list(found.values()) == sorted(found.values())
    assert (found["min"], found["max"]) == (values.min(), values.max())


def test_without_a_kept_unit_there_is_no_quantile_no_share_and_no_design_effect() -> None:
    found = spread(np.ones(3), np.zeros(3))
    assert (found["g_weight_quantiles"], found["top_1_percent_share"], found["design_effect"]) == (None, None, None)
