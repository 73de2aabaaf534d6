"""The compiled mathematics against numpy's in float64, over one float32 in five hundred, and at every odd number."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.calibration.kernels.compiling import compiled
from l0core.calibration.kernels.maths import exp, log, logistic_noise, sigmoid
from l0core.noise import logistic_by_number

Floats = NDArray[np.float32]

_SMALLEST_NORMAL = 2.0**-126
_PRIME = 509  # a stride over the bits that meets every exponent, and mantissas of all kinds
NUMBERS = np.arange(0, 2**32, _PRIME, dtype=np.int64).astype(np.uint32).view(np.float32)
ODD = [0.0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39]


def _every_exp(x: Any, out: Any) -> None:
    for j in range(x.size):
        out[j] = exp(x[j])


def _every_log(x: Any, out: Any) -> None:
    for j in range(x.size):
        out[j] = log(x[j])


def _every_sigmoid(x: Any, out: Any) -> None:
    for j in range(x.size):
        out[j] = sigmoid(x[j])


def _every_noise(unit: Any, low: Any, high: Any, out: Any) -> None:
    for j in range(unit.size):
        out[j] = logistic_noise(unit[j], low, high)


_exp, _log, _sigmoid, _noise = (compiled(f) for f in (_every_exp, _every_log, _every_sigmoid, _every_noise))


def _of(function: Any, x: Any) -> Floats:
    given = np.asarray(x, dtype=np.float32)
    out = np.empty_like(given)
    function(given, out)
    return out


def _relative(found: Floats, expected: NDArray[np.float64]) -> float:
    return float(np.max(np.abs(found - expected) / np.abs(expected)))


def _between(low: float, high: float) -> Floats:
    return NUMBERS[(low <= NUMBERS) & (high >= NUMBERS)]


def test_exp_is_right_to_9e_8_where_float32_holds_it() -> None:
    x = np.concatenate([_between(-87, 88), np.linspace(-87, 88, 1_000_003, dtype=np.float32)])
    assert _relative(_of(_exp, x), np.exp(x.astype(np.float64))) <= 9e-8


def test_beyond_float32_exp_stays_at_its_ends() -> None:
    top, bottom = _of(_exp, [88, -87])
    assert (top, bottom) == (pytest.approx(np.exp(88.0), rel=1e-7), pytest.approx(np.exp(-87.0), rel=1e-7))
    assert (_of(_exp, np.append(_between(88, np.inf), np.inf)) == top).all()
    assert (_of(_exp, np.append(_between(-np.inf, -87), -np.inf)) == bottom).all()


def test_exp_of_nothing_is_exactly_1() -> None:
    assert _of(_exp, ODD).tolist() == [1] * len(ODD)


def test_exp_of_no_number_is_no_number_and_of_any_other_a_positive_one() -> None:
    found = _of(_exp, NUMBERS)
    assert np.isnan(NUMBERS).any()
    assert (np.isnan(found) == np.isnan(NUMBERS)).all()
    numbers = found[~np.isnan(found)]
    assert ((numbers > 0) & (numbers < np.inf)).all()


def test_log_is_right_to_9e_8_for_positive_normal_numbers() -> None:
    x = np.concatenate([_between(_SMALLEST_NORMAL, np.inf), np.linspace(0.5, 2, 1_000_003, dtype=np.float32)])
    x = x[(x != 1) & (x < np.inf)]
    assert _relative(_of(_log, x), np.log(x.astype(np.float64))) <= 9e-8
    assert _of(_log, [1.0]).tolist() == [0]


def test_log_of_what_has_none_is_some_finite_number() -> None:
    without = NUMBERS[np.isnan(NUMBERS) | (np.nextafter(_SMALLEST_NORMAL, 0) >= NUMBERS)]
    assert np.isfinite(_of(_log, without)).all()
    assert np.isfinite(_of(_log, [*ODD, np.inf, -np.inf])).all()


def test_sigmoid_is_right_to_1_6e_7() -> None:
    x = np.concatenate([_between(-87, 3e38), np.linspace(-87, 87, 1_000_003, dtype=np.float32)])
    with np.errstate(over="ignore"):
        assert _relative(_of(_sigmoid, x), 1 / (1 + np.exp(-x.astype(np.float64)))) <= 1.6e-7


def test_sigmoid_ends_at_1_and_next_to_0() -> None:
    assert (_of(_sigmoid, np.append(_between(88, np.inf), np.inf)) == 1).all()
    lowest = _of(_sigmoid, np.append(_between(-np.inf, -88), -np.inf))
    assert ((lowest >= 0) & (lowest < 7e-39)).all()
    assert _of(_sigmoid, ODD).tolist() == [0.5] * len(ODD)


def test_sigmoid_of_no_number_is_no_number() -> None:
    assert (np.isnan(_of(_sigmoid, NUMBERS)) == np.isnan(NUMBERS)).all()


words = st.integers(0, 2**32 - 1)


def _drawn(units: NDArray[np.int32], key: tuple[int, int]) -> Floats:
    low, high = np.array(key, dtype=np.uint32).view(np.int32)
    out = np.empty(units.size, dtype=np.float32)
    _noise(units, low, high, out)
    return out


@settings(deadline=None, max_examples=50)
@given(key=st.tuples(words, words))
def test_the_noise_is_that_of_the_plain_formula_unit_by_unit(key: tuple[int, int]) -> None:
    found = _drawn(np.arange(1000, dtype=np.int32), key)
    np.testing.assert_allclose(found, logistic_by_number(torch.empty(1000), key).numpy(), rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(key=st.tuples(words, words), seed=st.integers(0, 2**31))
def test_a_unit_s_noise_does_not_depend_on_where_it_stands(key: tuple[int, int], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(1001).astype(np.int32)
    assert (_drawn(order, key) == _drawn(np.arange(1001, dtype=np.int32), key)[order]).all()


def test_the_noise_is_logistic_and_finite() -> None:
    noise = _drawn(np.arange(1_000_000, dtype=np.int32), (7, 11)).astype(np.float64)
    assert np.abs(noise).max() <= 16.64  # log(2^24): the outermost u are 2^-24 away from 0 and 1
    shares = np.array([0.001, 0.1, 0.5, 0.9, 0.999])
    error = np.array([(noise <= np.log(p / (1 - p))).mean() for p in shares]) - shares
    assert (np.abs(error) <= 5 * np.sqrt(shares * (1 - shares) / noise.size)).all()
