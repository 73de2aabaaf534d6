"""The price that follows a count, and the exact choice at the end."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l0core.calibration.budget import BudgetPrice, FixedPrice, choose_exactly

sizes = st.integers(1, 30)


def _random_gates(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gates = np.clip(rng.normal(0, 1, n), 0, 1)
    useful = rng.integers(0, 4, n).astype(float)  # ties on purpose
    return gates, useful


@given(n=sizes, k=sizes, seed=st.integers(0, 2**31))
def test_exactly_k_different_units_are_chosen_in_order(n: int, k: int, seed: int) -> None:
    chosen = choose_exactly(min(k, n), *_random_gates(n, seed))
    assert chosen.size == min(k, n)
    assert (np.diff(chosen) > 0).all()


@given(n=sizes, k=sizes, seed=st.integers(0, 2**31))
def test_no_unit_left_out_is_better_than_one_chosen(n: int, k: int, seed: int) -> None:
    gates, useful = _random_gates(n, seed)
    chosen = choose_exactly(min(k, n), gates, useful)
    left = np.setdiff1d(np.arange(n), chosen)
    merit = [(gates[j] > 0, useful[j]) for j in range(n)]
    assert all(merit[j] <= merit[i] for j in left for i in chosen)


def test_the_most_useful_of_the_open_come_first_then_the_most_useful_of_the_closed() -> None:
    gates, useful = np.array([0.0, 1.0, 0.2, 0.0, 0.9]), np.array([9.0, 1.0, 3.0, 8.0, 2.0])
    assert [choose_exactly(k, gates, useful).tolist() for k in range(1, 6)] == [
        [2],
        [2, 4],
        [1, 2, 4],
        [0, 1, 2, 4],
        [0, 1, 2, 3, 4],
    ]


def test_a_fixed_price_stays() -> None:
    price = torch.tensor(0.3, dtype=torch.float64)
    assert FixedPrice(start=0.3).update(price, lambda: torch.tensor(99.0), 7) is price


def _price(**given_: float) -> BudgetPrice:
    settings = {"start": 0.1, "budget": 10, "candidates": 1000, "epochs": 100} | given_
    return BudgetPrice(
        start=settings["start"],
        budget=int(settings["budget"]),
        candidates=int(settings["candidates"]),
        epochs=int(settings["epochs"]),
    )


def _updated(price: float, expected_open: float, epoch: int) -> float:
    at = torch.tensor(price, dtype=torch.float64)
    return _price().update(at, lambda: torch.tensor(expected_open, dtype=torch.float64), epoch).item()


@given(price=st.floats(1e-4, 1e2), count=st.floats(0, 1000), epoch=st.integers(40, 100))
def test_after_the_ramp_the_price_rises_exactly_when_more_are_open_than_the_budget(
    price: float, count: float, epoch: int
) -> None:
    change = _updated(price, count, epoch) - price
    assert change >= 0 if count >= 10 else change <= 0


@pytest.mark.parametrize(("epoch", "goal"), [(0, 1000.0), (20, 100.0), (40, 10.0), (99, 10.0)])
def test_the_goal_falls_geometrically_from_all_candidates_to_the_budget(epoch: int, goal: float) -> None:
    assert _updated(0.1, goal, epoch) == pytest.approx(0.1)
    assert _updated(0.1, goal * 1.1, epoch) > 0.1
    assert _updated(0.1, goal * 0.9, epoch) < 0.1


def test_the_price_stays_within_its_swing() -> None:
    price = 0.1
    for _ in range(2000):
        price = _updated(price, 1000.0, 99)
    assert price == pytest.approx(0.1 * 1e4)
    for _ in range(4000):
        price = _updated(price, 0.0, 99)
    assert price == pytest.approx(0.1 / 1e4)
