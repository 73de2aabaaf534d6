"""An exact number of gates, best first."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from l0core import HardConcrete
from l0core import hard_concrete as hc
from l0core.gates.ranking import best
from l0core.noise import Noise


def at(log_alpha: Tensor, *, training: bool, seed: int = 1) -> HardConcrete:
    gates = HardConcrete(log_alpha.numel(), temperature=0.25, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        gates.log_alpha.copy_(log_alpha)
    return gates.train(training)


locations = st.one_of(
    st.integers(1, 60).flatmap(lambda n: st.sampled_from([-1e4, 0.0, 3.5, 1e4]).map(lambda a: [a] * n)),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=60),
    st.lists(st.sampled_from([-1e4, -3.0, 0.0, 3.0, 1e4]), min_size=1, max_size=60),
)


@settings(deadline=None, max_examples=200)
@given(
    log_alpha=locations, data=st.data(), training=st.booleans(), dtype=st.sampled_from([torch.float32, torch.bfloat16])
)
def test_it_is_exactly_as_many_as_asked_for_whatever_the_gates_are(
    log_alpha: list[float], data: st.DataObject, training: bool, dtype: torch.dtype
) -> None:
    n = len(log_alpha)
    k = data.draw(st.one_of(st.sampled_from([0, 1, n]), st.integers(0, n)))
    indices, gates = best(at(torch.tensor(log_alpha), training=training).to(dtype), k)
    assert indices.dtype == torch.int64
    assert indices.shape == gates.shape == (k,)
    assert bool((indices.diff() > 0).all())
    assert bool(((indices >= 0) & (indices < n)).all())
    assert bool(((gates >= 0) & (gates <= 1)).all())


@settings(deadline=None, max_examples=100)
@given(log_alpha=st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=40, unique=True), data=st.data())
def test_in_eval_no_gate_left_out_is_likelier_than_one_chosen(log_alpha: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(log_alpha) - 1))
    gates = at(torch.tensor(log_alpha), training=False)
    indices, values = best(gates, k)
    chosen = set(indices.tolist())
    assert min(log_alpha[i] for i in chosen) > max(a for i, a in enumerate(log_alpha) if i not in chosen)
    assert bool((values == 1).all())
    assert torch.equal(best(gates, k)[0], indices)


@settings(deadline=None, max_examples=100)
@given(log_alpha=st.lists(st.floats(-6, 6, width=32), min_size=2, max_size=40), seed=st.integers(0, 2**31))
def test_in_training_no_gate_left_out_was_drawn_wider_open_than_one_chosen(log_alpha: list[float], seed: int) -> None:
    gates, k = at(torch.tensor(log_alpha), training=True), len(log_alpha) // 2
    generator = torch.Generator().manual_seed(seed)
    indices, values = best(gates, k, noise=Noise(generator))
    again = torch.Generator().manual_seed(seed)
    drawn = hc.sample(gates.log_alpha, hc.logistic_noise(gates.log_alpha, again), gates.shape).detach()
    left = torch.ones_like(drawn, dtype=torch.bool)
    left[indices] = False
    assert torch.equal(values.detach(), drawn[indices])
    assert values.detach().min() >= drawn[left].max()


def test_in_training_also_gates_that_are_all_drawn_closed_are_ranked_by_likelihood() -> None:
    gates = at(torch.cat([torch.full((50,), -40.0), torch.full((50,), -60.0)]), training=True)
    indices, values = best(gates, 50)
    assert indices.tolist() == list(range(50))
    assert bool((values == 0).all())


def test_a_noise_handed_in_takes_the_place_of_the_gates_own() -> None:
    gates = at(torch.zeros(40), training=True)
    state = gates.noise.on(torch.device("cpu")).get_state()
    first, again = (best(gates, 10, noise=Noise(torch.Generator().manual_seed(5)))[0] for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(state, gates.noise.on(torch.device("cpu")).get_state())
    assert not torch.equal(best(gates, 10)[0], best(gates, 10)[0])


@pytest.mark.parametrize("training", [True, False])
def test_the_loss_reaches_the_locations_in_training_only(training: bool) -> None:
    gates = at(torch.zeros(200), training=training)
    _, values = best(gates, 100)
    assert values.requires_grad == training
