"""The losses as concave functions of a square: their values, and tangents that touch from above."""

import numpy as np
import pytest

from l0core.calibration.losses import SQUARED, CappedAbsolute, Loss

_LOSSES = [SQUARED, CappedAbsolute(cap=0.5), CappedAbsolute(cap=10.0)]
_ERRORS = np.linspace(-12, 12, 49)


@pytest.mark.parametrize("loss", _LOSSES)
def test_a_loss_of_an_error_is_that_of_its_square(loss: Loss) -> None:
    np.testing.assert_allclose(loss.value(_ERRORS), loss.of_square(_ERRORS**2), rtol=1e-14)


def test_errors_past_the_cap_cost_the_cap() -> None:
    assert CappedAbsolute(cap=0.5).value(np.array([-3.0, -0.25, 0.5, 7.0])).tolist() == [0.5, 0.25, 0.5, 0.5]


@pytest.mark.parametrize("loss", [SQUARED, CappedAbsolute(cap=10.0)])
def test_below_the_cap_the_importance_is_the_slope(loss: Loss) -> None:
    at, step = np.array([0.04, 1.0, 9.0, 64.0]), 1e-6
    slope = (loss.of_square(at + step) - loss.of_square(at - step)) / (2 * step)
    np.testing.assert_allclose(loss.importance(at), slope, rtol=1e-6)


@pytest.mark.parametrize("cap", [0.5, 10.0])
def test_a_target_past_the_cap_still_feels_the_way_back(cap: float) -> None:
    loss = CappedAbsolute(cap=cap)
    past, below = loss.importance(np.array([4 * cap**2, 0.9 * cap**2]))
    assert 0 < past < 0.01 * below


def test_no_error_at_all_has_a_finite_importance() -> None:
    assert np.isfinite(CappedAbsolute(cap=1.0).importance(np.zeros(1))).all()
