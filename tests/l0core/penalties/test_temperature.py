"""The schedules of a temperature, and the gates it reaches."""

import inspect
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from l0core import (
    FeatureGate,
    HardConcrete,
    HybridGate,
    L0Conv2d,
    L0DepthwiseConv2d,
    L0Gate,
    L0Linear,
    SampleGate,
    SparseCalibrationWeights,
    SparseL0Linear,
    SparseMLP,
    TemperatureScheduler,
    update_temperatures,
)
from l0core.errors import InvalidHyperparameter

SCHEDULES = ("exponential", "linear", "cosine")


def test_the_defaults_are_those_that_users_know() -> None:
    defaults = {name: p.default for name, p in inspect.signature(TemperatureScheduler).parameters.items()}
    assert defaults == {"initial_temp": 2.0, "final_temp": 0.1, "anneal_epochs": 100, "schedule": "exponential"}


@pytest.mark.parametrize(
    ("schedule", "quarter", "middle"),
    [
        ("exponential", 2.0 * 0.05**0.25, math.sqrt(2.0 * 0.1)),
        ("linear", 1.525, 1.05),
        ("cosine", 0.1 + 1.9 * (1 + math.sqrt(0.5)) / 2, 1.05),
    ],
)
def test_a_schedule_has_its_known_values(schedule: str, quarter: float, middle: float) -> None:
    scheduler = TemperatureScheduler(schedule=schedule)
    assert scheduler.get_temperature(0) == pytest.approx(2.0)
    assert scheduler.get_temperature(25) == pytest.approx(quarter)
    assert scheduler.get_temperature(50) == pytest.approx(middle)
    for epoch in (100, 101, 10**9):
        assert scheduler.get_temperature(epoch) == 0.1


@settings(deadline=None, max_examples=150)
@given(
    schedule=st.sampled_from(SCHEDULES),
    initial=st.floats(1e-3, 100),
    final=st.floats(1e-3, 100),
    epochs=st.integers(1, 60),
)
def test_a_schedule_goes_one_way_and_stays_between_its_ends(
    schedule: str, initial: float, final: float, epochs: int
) -> None:
    scheduler = TemperatureScheduler(initial, final, epochs, schedule)
    series = np.array([scheduler.get_temperature(epoch) for epoch in range(epochs + 3)])
    rounding = 1e-12 * max(initial, final)
    assert series[0] == pytest.approx(initial)
    assert (series[epochs:] == final).all()
    assert (np.diff(series) * np.sign(final - initial) >= -rounding).all()
    assert (series >= min(initial, final) - rounding).all()
    assert (series <= max(initial, final) + rounding).all()
    assert (series > 0).all()


def test_one_epoch_is_enough_to_anneal() -> None:
    scheduler = TemperatureScheduler(anneal_epochs=1)
    assert [scheduler.get_temperature(epoch) for epoch in (0, 1)] == [2.0, 0.1]


@pytest.mark.parametrize("schedule", ["step", "Linear", "", None, 3, []])
def test_an_unknown_schedule_is_refused_when_it_is_made_and_the_known_ones_are_named(schedule: object) -> None:
    with pytest.raises(InvalidHyperparameter) as refusal:
        TemperatureScheduler(schedule=schedule)  # type: ignore[arg-type]  # what this test is about
    expected = f"schedule is {schedule!r}; it must be one of 'exponential', 'linear', 'cosine'"
    assert str(refusal.value) == expected


WRONG: list[tuple[str, object]] = [
    ("initial_temp", 0),
    ("initial_temp", -2.0),
    ("initial_temp", float("nan")),
    ("final_temp", 0.0),
    ("final_temp", float("inf")),
    ("final_temp", "cold"),
    ("anneal_epochs", 0),
    ("anneal_epochs", 1.5),
    ("anneal_epochs", True),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_argument_is_refused_with_its_name_and_its_value(name: str, value: object) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(InvalidHyperparameter) as refusal:
        TemperatureScheduler(**arguments)
    assert str(refusal.value).startswith(f"{name} is {value!r}; it must be ")


@pytest.mark.parametrize("epoch", [-1, 0.5, "first", None])
def test_an_epoch_that_is_none_is_refused(epoch: object) -> None:
    with pytest.raises(InvalidHyperparameter) as refusal:
        TemperatureScheduler().get_temperature(epoch)  # type: ignore[arg-type]  # what this test is about
    assert str(refusal.value).startswith(f"epoch is {epoch!r}; it must be a whole number at least 0")


def everything() -> nn.Sequential:
    return nn.Sequential(
        L0Linear(4, 3),
        L0Linear(4, 3, structured=True),
        L0Conv2d(2, 3, 3),
        L0DepthwiseConv2d(3, 3),
        SparseMLP(4, 3, 2),
        HardConcrete(5),
        nn.ModuleDict({"gates": nn.ModuleList([L0Gate(6), SampleGate(7, 2), FeatureGate(8, 3), HybridGate(9)])}),
        SparseCalibrationWeights(10),
        SparseL0Linear(11),
    )


def temperatures(model: nn.Module) -> list[float]:
    held = [module.temperature for module in model.modules() if isinstance(module, HardConcrete)]
    fitted = [m.beta for m in model.modules() if isinstance(m, SparseCalibrationWeights | SparseL0Linear)]
    return held + fitted


def test_a_temperature_reaches_every_gate_of_a_model() -> None:
    model = everything()
    assert len(temperatures(model)) == 14
    update_temperatures(model, 0.37)
    assert set(temperatures(model)) == {0.37}
    for module in model.modules():
        if isinstance(module, L0Gate):
            assert module.temperature == 0.37


def test_a_temperature_reaches_a_model_that_is_itself_a_gate() -> None:
    gate = HardConcrete(3)
    update_temperatures(gate, 0.2)
    assert gate.shape.beta == 0.2


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "cold"])
@pytest.mark.parametrize("gated", [True, False])
def test_a_temperature_that_is_none_is_refused_and_changes_nothing(temperature: object, gated: bool) -> None:
    model = everything() if gated else nn.Linear(2, 2)
    before = temperatures(model)
    with pytest.raises(InvalidHyperparameter) as refusal:
        update_temperatures(model, temperature)  # type: ignore[arg-type]  # what this test is about
    assert str(refusal.value).startswith(f"temperature is {temperature!r}; it must be a number")
    assert temperatures(model) == before


@pytest.mark.parametrize("wrong", [None, "net", [L0Gate(2)]])
def test_what_is_no_module_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(InvalidHyperparameter, match="model is "):
        update_temperatures(wrong, 0.5)  # type: ignore[arg-type]  # what this test is about


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_can_drive_a_model(schedule: str) -> None:
    model, scheduler = everything(), TemperatureScheduler(anneal_epochs=5, schedule=schedule)
    for epoch in range(8):
        update_temperatures(model, scheduler.get_temperature(epoch))
    assert set(temperatures(model)) == {0.1}
