"""The loop of a fit by its parts: the schedule, the totals as a loss, what is recorded, and where it gives up."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from l0core.calibration import descent
from l0core.calibration.descent import Descent, DeterministicGates, OpenGates
from l0core.calibration.fitting import Schedule, Totals, descend
from l0core.errors import Diverged, InvalidHyperparameter
from l0core.hard_concrete import GateShape
from l0core.history import History

SHAPE, CPU = GateShape(beta=0.5), torch.device("cpu")
MATRIX = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [4.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
VALUES = np.array([5.0, 2.0, -3.0, 0.5])


def _schedule(**changed: Any) -> Schedule:
    given: dict[str, Any] = {"price": ("lambda_l0", 0.1), "lr": 0.1, "epochs": 5, "verbose": False, "verbose_freq": 2}
    return Schedule.checked(**(given | changed))


def _totals(*, values: Any = VALUES, importance: Any = (1.0, 0.5, 2.0, 0.25), centred: bool = False) -> Totals:
    unit = np.array([6.0, 3.0, -2.0, 1.5])
    return Totals(
        matrix=sp.csr_array(MATRIX),
        values=np.asarray(values),
        unit=unit,
        importance=np.asarray(importance),
        centred=centred,
    )


def _descended(totals: Totals, schedule: Schedule) -> tuple[Descent, History]:
    landscape = totals.landscape(SHAPE, descent.positive, lambda_l2=0.0, device=CPU)
    state, history = Descent.start(torch.zeros(2, 3)), History()
    descend(state, OpenGates(), landscape, schedule, totals, history)
    return state, history


BAD: dict[str, list[Any]] = {
    "price": [("lambda_l0", -1.0), ("lambda_reg", float("nan")), ("lambda_reg", "cheap")],
    "lr": [0, -0.1, float("nan"), float("inf"), None],
    "epochs": [0, -1, 2.5, "ten"],
    "verbose_freq": [0, 1.5],
    "verbose": ["yes", 1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_setting_outside_its_range_is_refused_by_the_name_it_has_at_the_interface(name: str, value: Any) -> None:
    shown, number = value if name == "price" else (name, value)
    with pytest.raises(InvalidHyperparameter) as caught:
        _schedule(**{name: value})
    assert caught.value.message.startswith(f"{shown} is {number!r}; it must be ")
    assert caught.value.pointer == f"/{shown}"


def test_the_loss_is_importance_times_the_square_of_each_error() -> None:
    totals = _totals()
    landscape = totals.landscape(SHAPE, descent.positive, lambda_l2=0.0, device=CPU)
    theta = torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.0, 0.0]])
    epoch = descent.forward(theta, OpenGates(), landscape)
    errors = (VALUES - MATRIX @ np.exp([0.1, -0.2, 0.3])) / totals.unit
    assert float((epoch.residual**2).sum()) == pytest.approx(float(totals.importance @ errors**2), rel=1e-5)
    np.testing.assert_allclose(totals.errors(epoch.residual), np.abs(errors), rtol=1e-5)
    factor = np.sqrt(totals.importance) / totals.unit
    norms = np.linalg.norm(factor[:, None] * MATRIX, axis=0) ** 2
    np.testing.assert_allclose(landscape.squared_norms.numpy(), norms, rtol=1e-6)


def test_a_row_of_no_importance_has_no_error_that_is_reported() -> None:
    totals = _totals(importance=(1.0, 0.0, 1.0, 0.0))
    landscape = totals.landscape(SHAPE, descent.positive, lambda_l2=0.0, device=CPU)
    assert totals.errors(descent.forward(torch.zeros(2, 3), OpenGates(), landscape).residual).shape == (2,)
    _, history = _descended(_totals(importance=(0.0,) * 4), _schedule())
    assert history.metrics["mean_abs_error"][-1] == history.metrics["max_abs_error"][-1] == 0.0


def test_a_constant_common_to_all_rows_costs_a_centred_loss_no_digits() -> None:
    near = _totals(values=VALUES, importance=[0.25] * 4, centred=True)
    far = _totals(values=VALUES + 1e9, importance=[0.25] * 4, centred=True)
    goals = [
        replace(totals, unit=np.ones(4)).landscape(SHAPE, descent.signed, lambda_l2=0.0, device=CPU).goal
        for totals in (near, far)
    ]
    torch.testing.assert_close(goals[0], goals[1], rtol=0, atol=1e-6)
    assert float(goals[0].mean()) == pytest.approx(0, abs=1e-7)


def test_steps_are_recorded_at_their_distance_and_at_the_end() -> None:
    state, history = _descended(_totals(), _schedule(epochs=7, verbose_freq=3))
    assert (history.steps, state.steps) == ([3, 6, 7], 7)
    assert {len(series) for series in history.metrics.values()} == {3}
    names = "loss data_loss l0_penalty l2_penalty expected_l0 active mean_abs_error max_abs_error"
    assert list(history.metrics) == names.split()


def test_what_is_recorded_are_the_weights_as_they_stand() -> None:
    totals = _totals()
    state, history = _descended(totals, _schedule())
    landscape = totals.landscape(SHAPE, descent.positive, lambda_l2=0.0, device=CPU)
    now = descent.measure(state, OpenGates(), landscape).losses_at_test_time(landscape, price=0.0)
    assert {name: series[-1] for name, series in history.metrics.items() if name in now} == pytest.approx(now)


def test_open_gates_pay_no_price_and_closed_ones_do() -> None:
    _, history = _descended(_totals(), _schedule(price=("lambda_l0", 1e6)))
    assert history.metrics["l0_penalty"] == [0.0] * 3
    totals, state, paid = _totals(), Descent.start(torch.zeros(2, 3)), History()
    landscape = totals.landscape(SHAPE, descent.positive, lambda_l2=0.0, device=CPU)
    descend(state, DeterministicGates(shape=SHAPE), landscape, _schedule(), totals, paid)
    assert paid.metrics["l0_penalty"][-1] == pytest.approx(0.1 * paid.metrics["expected_l0"][-1])


@pytest.mark.parametrize(
    ("values", "lr"),
    [
        (np.abs(VALUES) + 20, 1e4),  # weights beyond float32
        (VALUES * 1e38, 0.1),  # the residual itself
    ],
)
def test_what_float32_cannot_hold_is_refused_with_the_epoch_and_what_to_do(values: Any, lr: float) -> None:
    with pytest.raises(Diverged, match=r"lower lr \(now .*\), or divide matrix and totals by a constant") as caught:
        _descended(_totals(values=values), _schedule(lr=lr, epochs=3))
    assert caught.value.epoch == 2
    assert "after 2 epochs" in caught.value.message
