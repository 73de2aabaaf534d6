"""`HybridGate`: part of the items by gates, the rest by chance."""

import copy
import inspect
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from l0core import HybridGate, compute_l0_penalty
from l0core.errors import InvalidHyperparameter, InvalidInput, ShapeMismatch

counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.sampled_from([1, n]) | st.integers(1, n)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Thousands of tiny draws: on a busy machine a second thread makes each a hundred times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def hybrid(n: int, k: int, share: float = 0.25, **settings_: Any) -> HybridGate:
    return HybridGate(n, share, 1 - share, k, generator=torch.Generator().manual_seed(1), **settings_)


def put(gate: HybridGate, place: float) -> None:
    with torch.no_grad():
        gate.l0_gate.gates.log_alpha.fill_(place)


def test_the_defaults_are_those_that_users_know() -> None:
    signature = inspect.signature(HybridGate).parameters
    defaults = {name: p.default for name, p in signature.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert defaults == {
        "n_items": inspect.Parameter.empty,
        "l0_fraction": 0.25,
        "random_fraction": 0.75,
        "target_items": None,
        "temperature": 0.25,
    }
    assert inspect.signature(HybridGate.select).parameters["random_seed"].default is None


def test_the_program_of_the_manual_runs() -> None:
    gate = HybridGate(n_items=10000, l0_fraction=0.25, random_fraction=0.75)
    selected, indices, types = gate.select(torch.arange(10000.0).view(-1, 1))
    assert selected.shape == (2000, 1)
    assert torch.equal(selected.flatten(), indices.float())
    assert [int((types == kind).sum()) for kind in ("l0", "random")] == [500, 1500]


@pytest.mark.parametrize(("n", "target"), [(10000, 2000), (99, 19), (14, 2), (5, 1), (4, 1), (1, 1)])
def test_without_a_target_it_is_a_fifth_rounded_down_and_never_none(n: int, target: int) -> None:
    gate = HybridGate(n)
    assert gate.target_items == target
    assert len(gate.select(torch.zeros(n))[1]) == target


@settings(deadline=None, max_examples=200)
@given(
    sizes=counts,
    share=st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1),
    place=st.sampled_from([None, -1e4, 0.0, 1e4]),
    training=st.booleans(),
    seed=st.none() | st.integers(0, 2**63 - 1),
)
def test_the_counts_of_both_parts_are_exact_and_the_parts_are_disjoint(
    sizes: tuple[int, int], share: float, place: float | None, training: bool, seed: int | None
) -> None:
    n, k = sizes
    gate = HybridGate(n, share, 1 - share, k).train(training)
    if place is not None:
        put(gate, place)
    selected, indices, types = gate.select(torch.arange(n), random_seed=seed)
    assert indices.dtype == torch.int64
    assert torch.equal(selected, indices)
    assert indices.shape == types.shape == (k,)
    assert bool((indices.diff() > 0).all())  # ascending, so that no item is there twice
    assert 0 <= indices[0] <= indices[-1] < n
    assert int((types == "l0").sum()) == round(k * share) == gate.n_l0
    assert int((types == "random").sum()) == k - round(k * share) == gate.n_random


@pytest.mark.parametrize("shape", [(40,), (40, 3), (40, 3, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_what_is_selected_are_the_rows_at_the_indices(shape: tuple[int, ...], training: bool) -> None:
    data = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    gate = hybrid(40, 12).train(training)
    selected, indices, _ = gate.select(data)
    assert torch.equal(selected, data[indices])
    array, indices, types = gate.select(data.numpy())
    assert isinstance(array, np.ndarray)
    assert isinstance(types, np.ndarray)
    np.testing.assert_array_equal(array, data.numpy()[indices.numpy()])


def test_in_eval_the_types_name_the_likeliest_items_by_their_index() -> None:
    gate = hybrid(50, 20, 0.5).eval()
    with torch.no_grad():
        gate.l0_gate.gates.log_alpha.copy_(torch.randn(50, generator=torch.Generator().manual_seed(6)))
    likeliest = set(gate.l0_gate.gates.log_alpha.topk(10).indices.tolist())
    drawn = []
    for _ in range(5):
        _, indices, types = gate.select(torch.zeros(50))
        assert {i for i, kind in zip(indices.tolist(), types, strict=True) if kind == "l0"} == likeliest
        drawn.append(tuple(indices[torch.from_numpy(types == "random")].tolist()))
    assert len(set(drawn)) == 5  # chance stays chance


def by_chance(gate: HybridGate, calls: int) -> tuple[Tensor, Tensor]:
    """Count how often each item, and each pair of items, came by chance; and how often each came by its gate."""
    pairs, by_gate = torch.zeros(gate.n_items, gate.n_items), torch.zeros(gate.n_items)
    data = torch.zeros(gate.n_items)
    for _ in range(calls):
        _, indices, types = gate.select(data)
        random = torch.from_numpy(types == "random")
        here = torch.zeros(gate.n_items)
        here[indices[random]] = 1
        pairs += here.outer(here)
        by_gate[indices[~random]] += 1
    return pairs, by_gate


def test_the_random_part_is_uniform_over_the_items_not_chosen_and_over_their_pairs() -> None:
    n, calls = 26, 4000
    gate = hybrid(n, 12, 0.5).eval()
    pairs, by_gate = by_chance(gate, calls)
    others = torch.nonzero(by_gate == 0).flatten()
    assert len(others) == 20
    k, m = gate.n_random, len(others)
    once, both = k / m, k * (k - 1) / (m * (m - 1))
    found = pairs[others][:, others] / calls
    assert (found.diag() - once).abs().max().item() < 5 * math.sqrt(once * (1 - once) / calls)
    off = found[~torch.eye(m, dtype=torch.bool)]
    assert (off - both).abs().max().item() < 5 * math.sqrt(both * (1 - both) / calls)


def test_in_training_chance_does_not_look_at_the_gates() -> None:
    """Items with all kinds of gates: those that were not chosen by them come by chance equally often."""
    n, calls = 24, 4000
    gate = hybrid(n, 10, 0.4)
    with torch.no_grad():
        gate.l0_gate.gates.log_alpha.copy_(torch.linspace(-1.5, 1.5, n))
    pairs, by_gate = by_chance(gate, calls)
    left = calls - by_gate
    p = gate.n_random / (n - gate.n_l0)
    assert by_gate.max() > 3 * by_gate.min() > 0
    assert ((pairs.diag() / left - p).abs() < 5 * (p * (1 - p) / left).sqrt()).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("seed", [0, 3])
def test_a_random_seed_makes_the_call_repeatable(training: bool, seed: int) -> None:
    gate = hybrid(300, 60).train(training)
    data = torch.zeros(300)
    first, again, other = (gate.select(data, random_seed=given_) for given_ in (seed, seed, seed + 1))
    assert torch.equal(first[1], again[1])
    assert first[2].tolist() == again[2].tolist()
    assert not torch.equal(first[1], other[1])


def test_a_random_seed_leaves_every_generator_alone() -> None:
    gate = hybrid(300, 60)
    own = gate.l0_gate.gates.noise.on(torch.device("cpu"))
    before = own.get_state(), torch.get_rng_state()
    numpy_before = np.random.get_state(legacy=False)  # the one that must not move
    gate.select(torch.zeros(300), random_seed=3)
    assert torch.equal(before[0], own.get_state())
    assert torch.equal(before[1], torch.get_rng_state())
    np.testing.assert_equal(numpy_before, np.random.get_state(legacy=False))


def test_without_a_random_seed_every_call_is_new_and_the_global_generators_are_left_alone() -> None:
    gate = HybridGate(300)
    before = torch.get_rng_state()
    first, second = (gate.select(torch.zeros(300))[1] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def test_the_generator_handed_in_decides_every_choice() -> None:
    first, again = hybrid(300, 60), hybrid(300, 60)
    for _ in range(2):
        assert torch.equal(first.select(torch.zeros(300))[1], again.select(torch.zeros(300))[1])


@pytest.mark.parametrize(("share", "kind"), [(0.0, "random"), (1.0, "l0")])
@pytest.mark.parametrize("training", [True, False])
def test_all_by_gates_and_all_by_chance_are_possible(share: float, kind: str, training: bool) -> None:
    _, indices, types = hybrid(40, 11, share).train(training).select(torch.zeros(40))
    assert set(types.tolist()) == {kind}
    assert len(indices) == 11


def test_every_item_can_be_asked_for() -> None:
    _, indices, types = hybrid(40, 40).select(torch.zeros(40))
    assert indices.tolist() == list(range(40))
    assert (types == "l0").sum() == 10


def test_the_gates_start_at_the_share_they_are_to_choose() -> None:
    gate = hybrid(1000, 400, 0.25)
    assert torch.sigmoid(gate.l0_gate.gates.log_alpha).mean().item() == pytest.approx(0.1, abs=2e-3)


def test_the_penalty_is_that_of_its_gates_and_models_pay_it() -> None:
    gate = HybridGate(30)
    assert gate.get_penalty().item() == gate.l0_gate.get_penalty().item() > 0
    assert compute_l0_penalty(nn.Sequential(gate)).item() == pytest.approx(gate.get_penalty().item())


WRONG: list[tuple[dict[str, object], str]] = [
    ({"n_items": 0}, "n_items is 0; it must be a whole number at least 1"),
    ({"n_items": 2.5}, "n_items is 2.5; it must be a whole number"),
    ({"target_items": 0}, "target_items is 0; it must be a whole number at least 1 and at most 10"),
    ({"target_items": 11}, "target_items is 11; it must be a whole number at least 1 and at most 10"),
    ({"target_items": 2.0}, "target_items is 2.0; it must be a whole number"),
    ({"l0_fraction": -0.1, "random_fraction": 1.1}, "l0_fraction is -0.1; it must be a number at least 0"),
    ({"l0_fraction": 1.5}, "l0_fraction is 1.5; it must be a number at least 0 and at most 1"),
    ({"random_fraction": float("nan")}, "random_fraction is nan; it must be a number at least 0 and at most 1"),
    ({"l0_fraction": 0.5}, "l0_fraction + random_fraction is 1.25; the two must add up to 1"),
    ({"random_fraction": 0.5}, "l0_fraction + random_fraction is 0.75; the two must add up to 1"),
    ({"temperature": 0.0}, "temperature is 0.0; it must be a number above 0"),
    ({"generator": 5}, "generator is 5; it must be a torch.Generator"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_a_wrong_argument_is_refused_with_its_name_and_its_value(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidHyperparameter) as refusal:
        HybridGate(**({"n_items": 10} | arguments))
    assert str(refusal.value).startswith(words)


def test_fractions_that_add_up_to_one_but_for_rounding_are_taken() -> None:
    assert HybridGate(10, 0.1 + 0.2, 0.7).n_l0 == 1


@pytest.mark.parametrize("seed", [-1, 1.5, True, "3"])
def test_a_random_seed_that_is_none_is_refused_by_that_name(seed: object) -> None:
    with pytest.raises(InvalidHyperparameter) as refusal:
        HybridGate(10).select(torch.zeros(10), random_seed=seed)  # type: ignore[arg-type]  # what this test is about
    assert str(refusal.value).startswith(f"random_seed is {seed!r}; it must be a whole number at least 0")


@pytest.mark.parametrize("shape", [(9,), (11, 2), (2, 10), ()])
def test_data_with_another_number_of_rows_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch) as refusal:
        HybridGate(10).select(torch.zeros(shape))
    assert str(refusal.value) == f"data has shape {shape}; its axis 0 must be 10 long, one entry a gate"


@pytest.mark.parametrize("data", [list(range(10)), "0123456789", None])
def test_what_is_neither_tensor_nor_array_is_refused_by_its_type(data: Any) -> None:
    with pytest.raises(InvalidInput, match=f"data is a {type(data).__name__}; it must be a torch tensor or a numpy"):
        HybridGate(10).select(data)


def chosen(gate: HybridGate) -> list[int]:
    indices: list[int] = gate.select(torch.zeros(gate.n_items))[1].tolist()
    return indices


def back_from_bytes(gate: HybridGate) -> HybridGate:
    back: HybridGate = pickle.loads(pickle.dumps(gate))
    return back


@pytest.mark.parametrize(("way", "alike"), [(copy.deepcopy, False), (back_from_bytes, True)])
def test_a_copy_chooses_otherwise_and_a_pickled_gate_alike(
    way: Callable[[HybridGate], HybridGate], alike: bool
) -> None:
    gate = HybridGate(400)
    other = way(gate)
    assert (chosen(other) == chosen(gate)) == alike


def test_a_gate_of_bfloat16_chooses_as_many() -> None:
    gate = hybrid(40, 12).to(torch.bfloat16)
    assert len(chosen(gate)) == len(chosen(gate.eval())) == 12
