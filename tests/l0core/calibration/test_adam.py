"""Adam against the formula of the paper, and against a gradient so small that the usual floor would stop it."""

import pytest
import torch

from l0core.calibration.adam import Adam


def test_it_takes_the_steps_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(5, generator=generator, dtype=torch.float64)
    expected, first, second = theta.clone(), torch.zeros_like(theta), torch.zeros_like(theta)
    adam = Adam.for_parameter(theta)
    for t in range(1, 30):
        gradient = torch.randn(5, generator=generator, dtype=torch.float64)
        adam.step(theta, gradient, step=t, learning_rate=0.1 / t)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        expected -= 0.1 / t * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-15)
    torch.testing.assert_close(theta, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1e-2, 1e-7, 1e-12])
def test_the_size_of_a_gradient_does_not_change_the_size_of_the_step(size: float) -> None:
    theta = torch.zeros(1)
    adam = Adam.for_parameter(theta)
    for t in range(1, 11):
        adam.step(theta, torch.full((1,), size), step=t, learning_rate=0.1)
    assert theta.item() == pytest.approx(-1.0, rel=1e-3)


def test_no_gradient_is_no_step() -> None:
    theta = torch.ones(3)
    Adam.for_parameter(theta).step(theta, torch.zeros(3), step=1, learning_rate=0.1)
    assert theta.tolist() == [1.0] * 3


def test_the_gradient_handed_in_is_left_as_it_was() -> None:
    gradient = torch.ones(2)
    theta = torch.zeros(2)
    Adam.for_parameter(theta).step(theta, gradient, step=1, learning_rate=0.1)
    assert gradient.tolist() == [1.0, 1.0]
