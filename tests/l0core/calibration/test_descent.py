"""The hand-written gradient of an epoch against torch's of the written-out loss; and the state of a descent.

The matrix of a fit is float32; here one in float64 takes its place, so that the formulas alone are compared. One test
runs the float32 matrix through the same comparison.
"""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.calibration import descent
from l0core.calibration.descent import (
    Descent,
    DeterministicGates,
    DrawnGates,
    Gates,
    Landscape,
    OpenGates,
    WeightForm,
    gates_at,
)
from l0core.calibration.kernels.torch_csr import TorchMatrix
from l0core.hard_concrete import GateMoments, GateShape
from l0core.noise import epoch_key, logistic_by_number

FORMS = {"positive": descent.positive, "signed": descent.signed}
GATES = ("drawn", "expected", "open")
EPOCH = 3
cases = given(
    seed=st.integers(0, 2**31),
    gates=st.sampled_from(GATES),
    form=st.sampled_from(sorted(FORMS)),
    centred=st.booleans(),
    beta=st.sampled_from([0.1, 0.35, 2 / 3, 2.0]),
    lambda_l0=st.sampled_from([0.0, 1e-3, 10.0]),
    lambda_l2=st.sampled_from([0.0, 1e-4, 1.0]),
)


class _Float64(TorchMatrix):
    def __init__(self, dense: Tensor) -> None:
        self._dense = dense

    def times(self, weights: Tensor) -> Tensor:
        return self._dense @ weights

    def transposed_times(self, residual: Tensor) -> Tensor:
        return self._dense.T @ residual


class _Case:
    """Random numbers, and the loss of `descent`'s first lines written out over them."""

    def __init__(
        self, *, seed: int, gates: str, form: str, centred: bool, beta: float, lambda_l0: float, lambda_l2: float
    ) -> None:
        rng = np.random.default_rng(seed)
        rows, units = int(rng.integers(2, 7)), int(rng.integers(1, 12))
        self.plain = torch.tensor(rng.normal(size=(rows, units)) * (rng.random((rows, units)) < 0.7))
        self.factor = torch.tensor(rng.normal(size=rows))
        self.dense = self.factor[:, None] * self.plain
        self.goal = torch.tensor(rng.normal(size=rows) * 3)
        self.theta = torch.tensor(rng.normal(size=(2, units)))
        self.shape = GateShape(beta=beta)
        self.seed, self.kind, self.form, self.centred = seed, gates, form, centred
        self.lambda_l0, self.lambda_l2 = lambda_l0, lambda_l2

    def landscape(self, matrix: TorchMatrix) -> Landscape:
        return Landscape(
            matrix=matrix,
            factor=self.factor,
            goal=self.goal,
            squared_norms=self._around_its_mean(self.dense).square().sum(dim=0),
            shape=self.shape,
            lambda_l2=self.lambda_l2,
            form=FORMS[self.form],
            centred=self.centred,
        )

    def gates(self, dtype: torch.dtype = torch.float64) -> Gates:
        if self.kind == "open":
            return OpenGates()
        if self.kind == "expected":
            return GateMoments(self.shape, device="cpu", dtype=dtype)
        return DrawnGates(shape=self.shape, seed=self.seed, epoch=EPOCH)

    def loss(self, theta: Tensor) -> Tensor:
        weights = theta[0].exp() if self.form == "positive" else theta[0]
        mean, variance = self._moments(theta[1])
        residual = self._around_its_mean(self.dense @ (weights * mean) - self.goal)
        norms = self._around_its_mean(self.dense).square().sum(dim=0)
        prob_active = torch.sigmoid(theta[1] - self.shape.beta * np.log(0.1 / 1.1))
        return (
            residual.square().sum()
            + (weights.square() * variance * norms).sum()
            + self.lambda_l0 * prob_active.sum()
            + self.lambda_l2 * weights.square().sum()
        )

    def by_torch(self) -> Tensor:
        theta = self.theta.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(theta), theta)
        return gradient

    def by_hand(self, landscape: Landscape, dtype: torch.dtype = torch.float64) -> Tensor:
        epoch = descent.forward(self.theta.to(dtype), self.gates(dtype), landscape)
        return descent.gradient(epoch, landscape, torch.tensor(self.lambda_l0, dtype=torch.float64))

    def _moments(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == "open":
            return torch.ones_like(log_alpha), torch.zeros_like(log_alpha)
        if self.kind == "expected":
            mean, _, variance, _ = GateMoments(self.shape, device="cpu", dtype=torch.float64)(log_alpha)
            return mean, variance
        noise = logistic_by_number(log_alpha.detach(), epoch_key(self.seed, EPOCH))
        drawn = torch.sigmoid((noise + log_alpha) / self.shape.beta) * 1.2 - 0.1
        return drawn.clamp(0, 1), torch.zeros_like(drawn)

    def _around_its_mean(self, values: Tensor) -> Tensor:
        return values - values.mean(dim=0) if self.centred else values


def _distance(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm().clamp(min=1e-300))


@settings(deadline=None, max_examples=150)
@cases
def test_the_gradient_is_torch_s_of_the_written_out_loss(
    seed: int, gates: str, form: str, centred: bool, beta: float, lambda_l0: float, lambda_l2: float
) -> None:
    case = _Case(
        seed=seed,
        gates=gates,
        form=form,
        centred=centred,
        beta=beta,
        lambda_l0=lambda_l0,
        lambda_l2=lambda_l2,
    )
    found, expected = case.by_hand(case.landscape(_Float64(case.plain))), case.by_torch()
    assume(expected.norm() > 1e-6)
    assert _distance(found, expected) <= 1e-6
    assert _distance(found[1], expected[1]) <= 1e-6 or expected[1].norm() < 1e-9


@settings(deadline=None, max_examples=50)
@cases
def test_the_loss_that_is_logged_is_the_written_out_one(
    seed: int, gates: str, form: str, centred: bool, beta: float, lambda_l0: float, lambda_l2: float
) -> None:
    case = _Case(
        seed=seed,
        gates=gates,
        form=form,
        centred=centred,
        beta=beta,
        lambda_l0=lambda_l0,
        lambda_l2=lambda_l2,
    )
    landscape = case.landscape(_Float64(case.plain))
    measured = descent.measure(Descent.start(case.theta), case.gates(), landscape)
    found = measured.losses(price=lambda_l0, lambda_l2=lambda_l2)
    assert found["loss"] == pytest.approx(float(case.loss(case.theta)), rel=1e-9)
    assert found["loss"] == pytest.approx(found["data_loss"] + found["l0_penalty"] + found["l2_penalty"], rel=1e-12)
    assert found["l0_penalty"] == pytest.approx(lambda_l0 * found["expected_l0"])


def _in_float32(case: _Case) -> Landscape:
    exact = case.landscape(TorchMatrix(sp.csr_array(case.plain.numpy()), device="cpu"))
    return replace(
        exact, factor=exact.factor.float(), goal=exact.goal.float(), squared_norms=exact.squared_norms.float()
    )


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("centred", [False, True])
def test_the_float32_matrix_gives_the_same_gradient_to_its_rounding(gates: str, form: str, centred: bool) -> None:
    case = _Case(seed=1, gates=gates, form=form, centred=centred, beta=0.5, lambda_l0=0.1, lambda_l2=0.1)
    assert _distance(case.by_hand(_in_float32(case), torch.float32), case.by_torch()) <= 1e-4


def test_a_weight_behind_a_shut_gate_moves_nothing_even_where_float32_cannot_hold_its_square() -> None:
    case = _Case(seed=1, gates="drawn", form="signed", centred=False, beta=0.5, lambda_l0=0.1, lambda_l2=0.0)
    case.theta[0], case.theta[1] = 1e30, -30
    by_weight, by_log_alpha = case.by_hand(_in_float32(case), torch.float32)
    assert not by_weight.any()
    assert bool(((by_log_alpha >= 0) & (by_log_alpha < 1e-10)).all())  # the price alone


def test_a_centred_residual_is_the_one_under_the_best_intercept() -> None:
    case = _Case(seed=4, gates="open", form="signed", centred=True, beta=0.5, lambda_l0=0.0, lambda_l2=0.0)
    estimate = case.dense @ case.theta[0]
    best = (case.goal - estimate).mean()
    profiled = (estimate + best - case.goal).square().sum()
    others = [(estimate + best + step - case.goal).square().sum() for step in (-0.1, 0.1)]
    assert float(case.loss(case.theta)) == pytest.approx(float(profiled))
    assert all(other > profiled for other in others)


@pytest.mark.parametrize("form", FORMS)
def test_the_slope_of_a_weight_is_its_derivative(form: str) -> None:
    make: WeightForm = FORMS[form]
    parameter = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    value, slope = make(parameter)
    (derivative,) = torch.autograd.grad(value.sum(), parameter)
    torch.testing.assert_close(slope.detach(), derivative)


def test_deterministic_gates_are_those_of_test_time_and_do_not_move() -> None:
    log_alpha, shape = torch.linspace(-3, 3, 7), GateShape(beta=0.5)
    value, *rest = DeterministicGates(shape=shape)(log_alpha)
    assert torch.equal(value, hc.deterministic_gate(log_alpha, shape))
    assert not torch.stack(rest).any()


def test_gates_that_are_drawn_are_others_every_epoch_and_gates_that_are_not_stay() -> None:
    shape, log_alpha = GateShape(beta=0.5), torch.zeros(50)
    drawn = DrawnGates(shape=shape, seed=3)
    first, second, again = (gates_at(drawn, epoch)(log_alpha)[0] for epoch in (0, 1, 1))
    assert torch.equal(first, drawn(log_alpha)[0])
    assert not torch.equal(first, second)
    assert torch.equal(second, again)
    fixed: list[Gates] = [OpenGates(), DeterministicGates(shape=shape), GateMoments(shape, device="cpu")]
    assert all(gates_at(gates, 7) is gates for gates in fixed)


def test_a_step_keeps_every_location_within_reach() -> None:
    shape = GateShape(beta=0.5)
    state = Descent.start(torch.zeros(2, 2))
    state.step(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), shape, learning_rate=1e6)
    low, high = shape.reach
    assert state.theta[1].tolist() == pytest.approx([low, high])
    assert state.theta[0].tolist() == pytest.approx([-1e6, -1e6])
    assert state.steps == 1


def test_a_descent_elsewhere_shares_steps_and_moments_but_no_memory() -> None:
    shape, slope = GateShape(beta=0.5), torch.ones(2, 3)
    first = Descent.start(torch.zeros(2, 3))
    first.step(slope, shape, learning_rate=0.1)
    kept = (first.adam.first.clone(), first.adam.second.clone(), first.theta.clone())
    second = first.at(torch.full((2, 3), 5.0))
    assert second.steps == 1
    assert torch.equal(second.adam.first, first.adam.first)
    second.step(slope, shape, learning_rate=0.1)
    assert (first.steps, second.steps) == (1, 2)
    assert all(torch.equal(a, b) for a, b in zip(kept, (first.adam.first, first.adam.second, first.theta), strict=True))


def test_the_moments_follow_the_parameters_to_another_device() -> None:
    moved = Descent.start(torch.zeros(2, 3)).at(torch.zeros(2, 3, device="meta"))
    assert {moved.adam.first.device.type, moved.adam.second.device.type} == {"meta"}
