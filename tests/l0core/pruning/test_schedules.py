"""What changes over the epochs: rates, temperature and the price of a parameter."""

from itertools import pairwise

import pytest
import torch

from l0core.errors import InvalidHyperparameter
from l0core.pruning.price import Price, goal_of, price_of
from l0core.pruning.schedules import Schedules
from tests.l0core.pruning.networks import options, two_classes

RUN = Schedules(options=options(epochs=10, finetune_epochs=5), steps_per_epoch=4)


def test_rates_fall_within_each_phase_and_never_to_nothing() -> None:
    rates = [RUN.learning_rate(epoch) for epoch in range(15)]
    assert rates[0] == rates[10] == 0.01
    assert all(after < before for before, after in pairwise(rates[:10]))
    assert all(after < before for before, after in pairwise(rates[10:]))
    assert min(rates) > 0.05 * 0.01


def test_the_temperature_goes_from_its_start_to_its_end() -> None:
    assert RUN.temperature(0) == 1.0
    assert RUN.temperature(9) == pytest.approx(0.2)
    assert RUN.temperature(12) == pytest.approx(0.2)


def test_a_run_that_goes_on_holds_rate_and_temperature_where_the_other_stood() -> None:
    held = Schedules(options=RUN.options, steps_per_epoch=4, held_at=0.5)
    assert {held.learning_rate(epoch) for epoch in range(10)} == {held.learning_rate(0)}
    assert held.learning_rate(0) == pytest.approx(RUN.learning_rate(5))
    assert len({held.temperature(epoch) for epoch in range(10)}) == 1


def test_gates_get_from_open_to_closed_however_few_steps_there_are() -> None:
    few = Schedules(options=options(epochs=10, learning_rate=1e-4), steps_per_epoch=4)
    assert few.gate_rate(0) * 40 == pytest.approx(15)


def test_the_price_rises_above_the_goal_falls_below_it_and_brings_parameters_back() -> None:
    policy = Price(start=1.0, parameters=1_000, goal=100)
    level = torch.tensor(1.0, dtype=torch.float64)

    def price(expected: float) -> float:
        return float(policy.update(level, torch.tensor(expected), 1.0)[1])

    assert price(200) > price(110) > price(100) == pytest.approx(1.0)
    assert price(100) > price(90) > 0 > price(50)


def test_the_goal_falls_from_all_parameters_to_the_target() -> None:
    policy = Price(start=1.0, parameters=1_000, goal=100)
    level = torch.tensor(1.0, dtype=torch.float64)
    for place, goal in ((0.0, 1_000.0), (0.3, 1_000 * 0.1**0.5), (0.6, 100.0), (1.0, 100.0)):
        assert float(policy.update(level, torch.tensor(goal), place)[1]) == pytest.approx(1.0, rel=1e-5)


def test_a_price_that_was_given_stays() -> None:
    policy = price_of(two_classes().plan, options(target_sparsity=None, lambda_l0=3.0))
    level, price = policy.update(torch.tensor(3.0), torch.tensor(5.0), 0.5)
    assert (float(level), float(price), policy.goal) == (3.0, 3.0, None)


def test_without_a_target_nine_tenths_go() -> None:
    assert goal_of(two_classes().plan, options(target_sparsity=None)) == round(0.1 * two_classes().plan.parameters)


def test_a_target_that_leaves_no_path_is_refused_with_what_is_possible() -> None:
    with pytest.raises(InvalidHyperparameter, match="7 at least make one path"):
        goal_of(two_classes().plan, options(target_sparsity=None, target_parameters=6))
