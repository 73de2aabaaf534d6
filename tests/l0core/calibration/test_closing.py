"""When gates count as closed, and when their units go."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l0core import hard_concrete as hc
from l0core.calibration.closing import check_distance, closed_below, is_due
from l0core.hard_concrete import GateShape

SHAPES = [GateShape(beta=0.35), GateShape(beta=2.0, gamma=-0.3, zeta=1.05)]


@given(epochs=st.integers(1, 10_000_000))
def test_gates_are_checked_fifty_times_or_every_ten_epochs(epochs: int) -> None:
    distance = check_distance(epochs)
    assert distance >= 10
    assert epochs // distance <= 60


@pytest.mark.parametrize("shape", SHAPES)
def test_a_gate_is_closed_where_it_is_open_with_less_than_one_percent(shape: GateShape) -> None:
    limit = closed_below(shape, start=5.0)
    assert float(hc.prob_active(torch.tensor(limit, dtype=torch.float64), shape)) == pytest.approx(0.01)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("keep", [1e-6, 0.005, 0.02])
def test_a_gate_that_began_nearly_closed_and_stayed_has_not_closed(shape: GateShape, keep: float) -> None:
    start = hc.starting_log_alpha(keep)
    assert closed_below(shape, start) < start - 2


@given(ready=st.integers(0, 1000), left=st.integers(1, 1000), least=st.integers(0, 1000))
def test_never_do_fewer_than_asked_for_or_none_stay(ready: int, left: int, least: int) -> None:
    ready = min(ready, left)
    if is_due(ready=ready, left=left, least=least):
        assert left - ready >= max(1, least)
        assert 3 * ready >= left
