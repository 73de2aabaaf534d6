"""`L0Gate`: one gate for each entry of an axis."""

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from l0core import HardConcrete, L0Gate
from l0core.errors import InvalidHyperparameter, InvalidInput, ShapeMismatch


def half_open() -> L0Gate:
    """Six gates at test time: three closed, three open."""
    gate = L0Gate(6).eval()
    with torch.no_grad():
        gate.gates.log_alpha.copy_(torch.tensor([9.0, -9.0, 9.0, -9.0, 9.0, -9.0]))
    return gate


def test_the_defaults_are_those_that_users_know() -> None:
    signature = inspect.signature(L0Gate).parameters
    defaults = {name: p.default for name, p in signature.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert defaults == {"size": inspect.Parameter.empty, "temperature": 0.5, "init_mean": 0.5}
    assert inspect.signature(L0Gate.apply_gates).parameters["dim"].default == 0
    assert inspect.signature(L0Gate.get_active_indices).parameters["threshold"].default == 0.5


def test_settings_reach_the_gates() -> None:
    gate = L0Gate(5, 0.2, 0.9)
    assert (gate.size, gate.temperature, gate.init_mean) == (5, 0.2, 0.9)
    assert gate.gates.gate_size == (5,)
    assert (gate.gates.temperature, gate.gates.init_mean) == (0.2, 0.9)


def test_the_one_parameter_is_the_gates_locations() -> None:
    assert [name for name, _ in L0Gate(5).named_parameters()] == ["gates.log_alpha"]


def test_gates_are_drawn_in_training_and_decided_in_eval() -> None:
    gate = L0Gate(300)
    assert not torch.equal(gate.get_gates(), gate.get_gates())
    gate.eval()
    assert torch.equal(gate.get_gates(), gate.gates.deterministic())


@pytest.mark.parametrize(("shape", "dim"), [((6,), 0), ((6, 2), 0), ((2, 6), 1), ((2, 6), -1), ((3, 6, 2), -2)])
def test_gates_are_multiplied_into_the_axis_named(shape: tuple[int, ...], dim: int) -> None:
    gate, x = half_open(), torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 1
    gated = gate.apply_gates(x, dim)
    assert gated.shape == x.shape
    rows, before = gated.movedim(dim, 0), x.movedim(dim, 0)
    assert bool((rows[1::2] == 0).all())
    assert torch.equal(rows[::2], before[::2])
    assert torch.equal(gate(x, dim), gated)


def test_the_loss_reaches_the_locations_and_the_input() -> None:
    gate, x = L0Gate(200), torch.ones(200, 2, requires_grad=True)
    torch.autograd.backward(gate(x).sum())
    slope = gate.gates.log_alpha.grad
    assert slope is not None
    assert x.grad is not None
    assert bool(torch.isfinite(slope).all())
    assert bool((slope > 0).any())


def test_an_axis_of_another_length_is_refused_with_both_lengths() -> None:
    with pytest.raises(ShapeMismatch, match=r"x has shape \(2, 6\); its axis 0 must be 6 long"):
        half_open().apply_gates(torch.ones(2, 6))


@pytest.mark.parametrize("dim", [2, -3, 1.0, True, None])
def test_an_axis_that_there_is_not_is_refused(dim: object) -> None:
    with pytest.raises(InvalidHyperparameter, match=f"dim is {dim}; "):
        half_open().apply_gates(torch.ones(6, 6), dim)  # type: ignore[arg-type]  # what this test is about


def test_a_number_alone_has_no_axis() -> None:
    with pytest.raises(InvalidHyperparameter, match="dim is 0; x has 0 axes"):
        half_open().apply_gates(torch.tensor(1.0))


@pytest.mark.parametrize("x", [[1.0] * 6, np.ones(6), 3.0, None])
def test_what_is_no_tensor_is_refused_by_its_type(x: object) -> None:
    with pytest.raises(InvalidInput, match=f"x is a {type(x).__name__}; it must be a torch tensor"):
        half_open().apply_gates(x)  # type: ignore[arg-type]  # what this test is about


def test_active_indices_are_ascending_and_those_above_the_threshold() -> None:
    indices = half_open().get_active_indices()
    assert indices.dtype == torch.int64
    assert indices.tolist() == [0, 2, 4]


def test_a_higher_threshold_lets_no_more_gates_through() -> None:
    gate = L0Gate(101).eval()
    with torch.no_grad():
        gate.gates.log_alpha.copy_(torch.linspace(-2, 2, 101))
    counts = [len(gate.get_active_indices(threshold)) for threshold in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == gate.count().active > counts[2] > counts[4] == 0


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "half"])
def test_a_threshold_outside_zero_to_one_is_refused(threshold: object) -> None:
    with pytest.raises(InvalidHyperparameter, match=f"threshold is {threshold!r}; "):
        L0Gate(3).get_active_indices(threshold)  # type: ignore[arg-type]  # what this test is about


def test_penalty_and_sparsity_are_those_of_its_gates() -> None:
    gate = half_open()
    assert gate.get_penalty().item() == gate.expected_l0().item() == gate.gates.get_penalty().item()
    assert gate.get_sparsity() == gate.gates.get_sparsity() == 0.5
    assert gate.sum_of_squares().item() == 0


@pytest.mark.parametrize(
    ("name", "value"), [("size", 0), ("size", 1.5), ("temperature", 0), ("init_mean", 1.0), ("generator", 1)]
)
def test_a_wrong_argument_is_refused_with_its_name_and_its_value(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"size": 3, name: value}
    with pytest.raises(InvalidHyperparameter, match=f"{name} is {value!r}; it must be "):
        L0Gate(**arguments)


def test_the_generator_decides_start_and_draws() -> None:
    first, again = (L0Gate(30, generator=torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first.gates.log_alpha, again.gates.log_alpha)
    assert torch.equal(first.get_gates(), again.get_gates())


def test_a_copy_draws_other_gates_and_a_pickled_one_the_same() -> None:
    gate = L0Gate(300)
    copied, pickled = copy.deepcopy(gate), pickle.loads(pickle.dumps(gate))
    drawn = gate.get_gates()
    assert not torch.equal(copied.get_gates(), drawn)
    assert torch.equal(pickled.get_gates(), drawn)


def test_a_gate_of_bfloat16_gates_bfloat16() -> None:
    model = nn.Sequential(L0Gate(4)).to(torch.bfloat16)
    assert model(torch.ones(4, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_the_print_of_a_model_says_how_many_gates() -> None:
    assert "L0Gate(\n  size=3\n" in repr(L0Gate(3))
    assert isinstance(L0Gate(3).gates, HardConcrete)
