"""The laws of the Hard Concrete distribution, over random temperatures and stretches."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.hard_concrete import GateMoments, GateShape

DEFAULT = GateShape(beta=0.35)
SHAPES = (DEFAULT, GateShape(beta=2 / 3), GateShape(beta=0.1, gamma=-0.5, zeta=1.05), GateShape(beta=1.5, zeta=2.0))
MOMENT_ERROR = 2e-6  # measured: 1.5e-6 at worst, the linear interpolation of the table

shapes = st.builds(
    GateShape,
    beta=st.floats(0.05, 5),
    gamma=st.floats(-2, -0.01),
    zeta=st.floats(1.01, 3),
)
locations = st.lists(st.floats(-20, 20), min_size=1, max_size=20)


def _tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _noise(n: int, seed: int) -> Tensor:
    return hc.logistic_noise(torch.empty(n, dtype=torch.float64), torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(shape=shapes, log_alpha=locations, seed=st.integers(0, 2**31))
def test_every_gate_and_probability_lies_from_zero_to_one(shape: GateShape, log_alpha: list[float], seed: int) -> None:
    a = _tensor(log_alpha)
    drawn, _ = hc.draw(a, _noise(a.numel(), seed), shape)
    for value in (drawn, hc.deterministic_gate(a, shape), hc.prob_active(a, shape)):
        assert bool(((value >= 0) & (value <= 1)).all())


@settings(deadline=None)
@given(shape=shapes, log_alpha=locations, rise=st.floats(0, 5), noise=st.floats(-20, 20))
def test_no_gate_falls_as_its_log_alpha_rises(
    shape: GateShape, log_alpha: list[float], rise: float, noise: float
) -> None:
    a, fixed = _tensor(log_alpha), _tensor([noise])
    for low, high in (
        (hc.draw(a, fixed, shape)[0], hc.draw(a + rise, fixed, shape)[0]),
        (hc.deterministic_gate(a, shape), hc.deterministic_gate(a + rise, shape)),
        (hc.prob_active(a, shape), hc.prob_active(a + rise, shape)),
    ):
        assert bool((high >= low - 1e-15).all())  # to within rounding of the exponential


@settings(deadline=None)
@given(shape=shapes, log_alpha=st.floats(-20, 20))
def test_a_deterministic_gate_is_open_exactly_where_it_is_likelier_open_than_closed(
    shape: GateShape, log_alpha: float
) -> None:
    a = _tensor([log_alpha])
    probability = hc.prob_active(a, shape).item()
    assume(abs(probability - 0.5) > 1e-9)  # at the threshold itself rounding decides
    assert (hc.deterministic_gate(a, shape).item() > 0) == (probability > 0.5)


def test_at_two_thirds_a_gate_that_is_open_in_forty_percent_of_draws_is_closed_at_test_time() -> None:
    shape = GateShape(beta=2 / 3)
    a = _tensor([shape.threshold + math.log(0.4 / 0.6)])
    assert hc.prob_active(a, shape).item() == pytest.approx(0.4)
    assert hc.deterministic_gate(a, shape).item() == 0.0
    assert torch.sigmoid(a).item() * 1.2 - 0.1 > 0  # without the temperature it would stay partly open


@pytest.mark.parametrize("shape", SHAPES)
def test_the_threshold_is_where_open_and_closed_are_equally_likely(shape: GateShape) -> None:
    assert hc.prob_active(_tensor([shape.threshold]), shape).item() == pytest.approx(0.5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("log_alpha", [-2.0, -0.3, 0.0, 1.0])
def test_gates_are_drawn_open_as_often_as_prob_active_says(shape: GateShape, log_alpha: float) -> None:
    n = 100_000
    drawn, _ = hc.draw(torch.full((n,), log_alpha, dtype=torch.float64), _noise(n, seed=7), shape)
    p = hc.prob_active(_tensor([log_alpha]), shape).item()
    assert (drawn > 0).double().mean().item() == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n))


@settings(deadline=None)
@given(shape=shapes, log_alpha=locations, seed=st.integers(0, 2**31))
def test_the_slope_of_a_draw_is_its_derivative(shape: GateShape, log_alpha: list[float], seed: int) -> None:
    a = _tensor(log_alpha).requires_grad_()
    noise = _noise(a.numel(), seed)
    value, slope = hc.draw(a, noise, shape)
    (derivative,) = torch.autograd.grad(value.sum(), a)
    torch.testing.assert_close(slope.detach(), derivative, rtol=1e-9, atol=1e-12)


def test_the_slope_of_a_draw_agrees_with_finite_differences() -> None:
    a, noise, h = _tensor([-1.5, -0.5, 0.0, 0.5, 1.5]), _tensor([0.3, 0.1, -0.2, 0.1, -1.0]), 1e-6
    _, slope = hc.draw(a, noise, DEFAULT)
    difference = (hc.draw(a + h, noise, DEFAULT)[0] - hc.draw(a - h, noise, DEFAULT)[0]) / (2 * h)
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-8)


def test_a_clipped_draw_has_no_slope() -> None:
    value, slope = hc.draw(_tensor([-9.0, 9.0]), _tensor([0.0, 0.0]), DEFAULT)
    assert value.tolist() == [0.0, 1.0]
    assert slope.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_finite_and_logistic(dtype: torch.dtype) -> None:
    noise = hc.logistic_noise(torch.empty(200_000, dtype=dtype), torch.Generator().manual_seed(3))
    assert noise.dtype == dtype
    assert bool(torch.isfinite(noise).all())
    assert noise.mean().item() == pytest.approx(0, abs=5 * math.pi / math.sqrt(3 * 200_000))
    assert noise.std().item() == pytest.approx(math.pi / math.sqrt(3), rel=0.01)


def test_noise_comes_from_the_generator_handed_in_and_nowhere_else() -> None:
    before = torch.get_rng_state()
    first, again = _noise(10, seed=5), _noise(10, seed=5)
    assert torch.equal(first, again)
    assert not torch.equal(first, _noise(10, seed=6))
    assert torch.equal(before, torch.get_rng_state())


def test_expected_l0_is_the_float64_sum_of_the_probabilities() -> None:
    a = torch.linspace(-3, 3, 1001)
    total = hc.expected_l0(a, DEFAULT)
    assert total.dtype == torch.float64
    assert total.item() == pytest.approx(hc.prob_active(a.double(), DEFAULT).sum().item(), rel=1e-6)


@pytest.mark.parametrize(("beta", "published"), [(0.35, 0.698), (2 / 3, 0.832)])
def test_a_keep_probability_of_one_half_starts_at_the_known_prob_active(beta: float, published: float) -> None:
    a = _tensor([hc.starting_log_alpha(0.5)])
    assert hc.prob_active(a, GateShape(beta=beta)).item() == pytest.approx(published, abs=5e-4)


@settings(deadline=None)
@given(keep=st.floats(1e-6, 1 - 1e-6))
def test_the_starting_location_has_the_keep_probability_as_its_sigmoid(keep: float) -> None:
    assert torch.sigmoid(_tensor([hc.starting_log_alpha(keep)])).item() == pytest.approx(keep, rel=1e-9)


def _exact_moments(a: float, shape: GateShape) -> tuple[float, float]:
    def beyond(t: float) -> float:
        s = (t - shape.gamma) / (shape.zeta - shape.gamma)
        return 1 / (1 + math.exp(-(a - shape.beta * (math.log(s) - math.log1p(-s)))))

    mean = quad(beyond, 0, 1, epsabs=1e-12, epsrel=1e-12, limit=200)[0]
    square = quad(lambda t: 2 * t * beyond(t), 0, 1, epsabs=1e-12, epsrel=1e-12, limit=200)[0]
    return mean, square - mean**2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_moments_are_the_integrals_they_stand_for(shape: GateShape, dtype: torch.dtype) -> None:
    a = torch.linspace(-12, 12, 49, dtype=dtype)
    mean, _, variance, _ = GateMoments(shape, device="cpu", dtype=dtype)(a)
    exact = np.array([_exact_moments(float(x), shape) for x in a])
    np.testing.assert_allclose(mean.double().numpy(), exact[:, 0], rtol=0, atol=MOMENT_ERROR)
    np.testing.assert_allclose(variance.double().numpy(), exact[:, 1], rtol=0, atol=MOMENT_ERROR)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_moments_are_the_mean_and_variance_of_draws(shape: GateShape) -> None:
    n, noise = 100_000, _noise(100_000, seed=11)
    moments = GateMoments(shape, device="cpu", dtype=torch.float64)
    for log_alpha in (-1.5, 0.0, 1.0):
        a = torch.full((n,), log_alpha, dtype=torch.float64)
        drawn, _ = hc.draw(a, noise, shape)
        mean, _, variance, _ = (m.item() for m in moments(a[0]))
        spread = drawn.std().item()
        assert drawn.mean().item() == pytest.approx(mean, abs=5 * spread / math.sqrt(n))
        assert drawn.var().item() == pytest.approx(variance, abs=5 / math.sqrt(n) * 0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_slopes_of_the_moments_agree_with_finite_differences(shape: GateShape) -> None:
    moments = GateMoments(shape, device="cpu", dtype=torch.float64)
    a, h = torch.linspace(-8, 8, 400, dtype=torch.float64), 0.05
    _, mean_slope, _, variance_slope = moments(a)
    (high_mean, _, high_variance, _), (low_mean, _, low_variance, _) = moments(a + h), moments(a - h)
    torch.testing.assert_close(mean_slope, (high_mean - low_mean) / (2 * h), rtol=0, atol=1e-3)
    torch.testing.assert_close(variance_slope, (high_variance - low_variance) / (2 * h), rtol=0, atol=1e-3)


@settings(deadline=None, max_examples=12)
@given(shape=shapes)
def test_the_moments_are_those_of_a_number_from_zero_to_one(shape: GateShape) -> None:
    mean, mean_slope, variance, _ = GateMoments(shape, device="cpu")(torch.linspace(-20, 20, 2001))
    assert bool(((mean >= 0) & (mean <= 1)).all())
    assert bool((mean_slope >= 0).all())
    assert bool((variance >= -1e-6).all())
    assert bool((variance <= mean * (1 - mean) + 1e-6).all())


@settings(deadline=None, max_examples=12)
@given(shape=shapes, log_alpha=st.lists(st.floats(-20, 20) | st.floats(-1e30, 1e30), min_size=1))
def test_everything_is_finite_however_far_a_gate_has_gone(shape: GateShape, log_alpha: list[float]) -> None:
    a = torch.tensor(log_alpha, dtype=torch.float32)
    noise = hc.logistic_noise(a, torch.Generator().manual_seed(1))
    given_ = (*hc.draw(a, noise, shape), *GateMoments(shape, device="cpu")(a), hc.deterministic_gate(a, shape))
    assert all(bool(torch.isfinite(value).all()) for value in given_)


def test_everything_keeps_the_shape_it_is_given() -> None:
    a = torch.zeros(2, 3)
    noise = hc.logistic_noise(a, torch.Generator().manual_seed(1))
    for value in (*hc.draw(a, noise, DEFAULT), *GateMoments(DEFAULT, device="cpu")(a), hc.prob_active(a, DEFAULT)):
        assert value.shape == a.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_noise_is_finite_at_the_ends_of_the_uniform_numbers(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "rand", lambda *_, dtype, **__: torch.tensor([0.0, 1.0], dtype=dtype))
    low, high = hc.logistic_noise(torch.empty(2, dtype=dtype), torch.Generator()).tolist()
    assert -40 < low < -15
    assert 15 < high < 40


def test_the_noise_of_a_half_width_type_has_more_than_256_steps() -> None:
    noise = hc.logistic_noise(torch.empty(200_000, dtype=torch.bfloat16), torch.Generator().manual_seed(3))
    assert noise.dtype == torch.bfloat16
    assert len(set(noise.tolist())) > 1000
    assert noise.max().item() > 8  # drawn in bfloat16, u would end at 255/256, and its logit at 5.5


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("log_alpha", [-2.0, -0.3, 0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gates_of_a_narrow_type_are_drawn_open_as_often_as_prob_active_says(
    shape: GateShape, log_alpha: float, dtype: torch.dtype
) -> None:
    n, rounding = 100_000, torch.finfo(dtype).eps
    a = torch.full((n,), log_alpha, dtype=dtype)
    drawn = hc.sample(a, hc.logistic_noise(a, torch.Generator().manual_seed(5)), shape)
    p = hc.prob_active(a[:1].double(), shape).item()
    assert (drawn > 0).double().mean().item() == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n) + rounding)
    assert hc.prob_active(a[:1], shape).item() == pytest.approx(p, abs=rounding)


@settings(deadline=None)
@given(shape=shapes, log_alpha=locations, seed=st.integers(0, 2**31))
def test_a_sample_is_the_value_of_the_draw(shape: GateShape, log_alpha: list[float], seed: int) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        a = _tensor(log_alpha).to(dtype)
        noise = hc.logistic_noise(a, torch.Generator().manual_seed(seed))
        assert torch.equal(hc.sample(a, noise, shape), hc.draw(a, noise, shape)[0])


@settings(deadline=None)
@given(shape=shapes, log_alpha=locations)
def test_a_deterministic_gate_is_the_sample_at_the_median_of_the_noise(
    shape: GateShape, log_alpha: list[float]
) -> None:
    a = _tensor(log_alpha)
    assert torch.equal(hc.deterministic_gate(a, shape), hc.sample(a, torch.zeros_like(a), shape))


@pytest.mark.parametrize("shape", [*SHAPES, GateShape(beta=0.01)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_gradient_is_finite_however_far_open_or_closed_a_gate_is(shape: GateShape, dtype: torch.dtype) -> None:
    a = torch.linspace(-20, 20, 4001).to(dtype).requires_grad_()
    noise = hc.logistic_noise(a, torch.Generator().manual_seed(9))
    for value in (hc.sample(a, noise, shape), hc.deterministic_gate(a, shape), hc.prob_active(a, shape)):
        (slope,) = torch.autograd.grad(value.sum(), a)
        assert slope.dtype == dtype
        assert bool(torch.isfinite(slope).all())
        assert bool((slope >= 0).all())
        assert bool((slope > 0).any())


@settings(deadline=None)
@given(shape=shapes, rise=st.floats(1e-6, 5))
def test_a_deterministic_gate_is_one_from_its_saturation_on_and_below_one_before(shape: GateShape, rise: float) -> None:
    before, after = hc.deterministic_gate(_tensor([shape.saturation - rise, shape.saturation + rise]), shape)
    assert before.item() < 1
    assert after.item() == 1


@settings(deadline=None)
@given(shape=shapes)
def test_at_the_ends_of_its_reach_a_gate_is_settled_but_can_still_move(shape: GateShape) -> None:
    low, high = shape.reach
    a = _tensor([low, high]).float().requires_grad_()
    probability = hc.prob_active(a, shape)
    closed, opened = probability
    assert low < shape.threshold < high
    assert closed.item() < 4e-7
    assert 1 - opened.item() < 4e-7
    assert hc.deterministic_gate(a, shape).tolist() == [0.0, 1.0]
    assert bool((hc.prob_active_slope(a, shape) > 0).all())


@settings(deadline=None)
@given(shape=shapes, log_alpha=locations)
def test_the_slope_of_prob_active_is_its_derivative(shape: GateShape, log_alpha: list[float]) -> None:
    a = _tensor(log_alpha).requires_grad_()
    (derivative,) = torch.autograd.grad(hc.prob_active(a, shape).sum(), a)
    torch.testing.assert_close(hc.prob_active_slope(a.detach(), shape), derivative, rtol=1e-6, atol=1e-12)
