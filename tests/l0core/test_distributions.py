"""`HardConcrete` as a torch module: modes, shapes, counts, files, copies, refusals."""

import copy
import inspect
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from l0core import HardConcrete, L0Gate, L0Linear
from l0core import hard_concrete as hc
from l0core.errors import InvalidHyperparameter, ShapeMismatch

SIZES = [(7,), (3, 4)]


def seeded(*size: int, seed: int = 1, **settings_: Any) -> HardConcrete:
    return HardConcrete(*size, generator=torch.Generator().manual_seed(seed), **settings_)


def at(values: Tensor, **settings_: Any) -> HardConcrete:
    gates = seeded(values.numel(), **settings_)
    with torch.no_grad():
        gates.log_alpha.copy_(values)
    return gates


def test_the_defaults_are_those_that_users_know() -> None:
    defaults = {n: p.default for n, p in inspect.signature(HardConcrete).parameters.items() if n != "generator"}
    assert defaults.pop("input_dim") is inspect.Parameter.empty
    assert defaults == {"output_dim": None, "temperature": 0.5, "stretch": 0.1, "init_mean": 0.5}
    gates = HardConcrete(2)
    assert (gates.temperature, gates.gamma, gates.zeta) == (0.5, -0.1, 1.1)


@pytest.mark.parametrize("size", SIZES)
def test_there_is_one_gate_for_each_place(size: tuple[int, ...]) -> None:
    gates = HardConcrete(*size)
    assert gates.gate_size == size
    for value in (gates(), gates.eval()(), gates.get_active_prob(), gates.log_alpha):
        assert value.shape == size
    assert [name for name, _ in gates.named_parameters()] == ["log_alpha"]


@pytest.mark.parametrize("mean", [0.01, 0.5, 0.9])
def test_gates_start_at_their_mean_and_no_two_alike(mean: float) -> None:
    start = torch.sigmoid(seeded(1000, init_mean=mean).log_alpha.detach())
    assert start.mean().item() == pytest.approx(mean, abs=0.002)
    assert start.std().item() == pytest.approx(0.01 * mean * (1 - mean), rel=0.15)
    assert len(set(start.tolist())) > 900


def test_in_training_every_call_draws_and_in_eval_every_call_is_the_same() -> None:
    gates = seeded(200)
    assert not torch.equal(gates(), gates())
    gates.eval()
    assert torch.equal(gates(), gates())
    assert torch.equal(gates(), hc.deterministic_gate(gates.log_alpha, gates.shape))


def test_the_mode_decides_neither_the_drawn_nor_the_deterministic_gates() -> None:
    gates = seeded(200).eval()
    assert not torch.equal(gates.drawn(), gates.drawn())
    assert torch.equal(gates.train().deterministic(), gates.deterministic())


def test_draws_are_those_of_the_formula_with_the_generator_handed_in() -> None:
    gates, generator = seeded(50, seed=4, temperature=0.3, stretch=0.2), torch.Generator().manual_seed(4)
    torch.randn(50, generator=generator)  # what the start took
    noise = hc.logistic_noise(gates.log_alpha, generator)
    assert torch.equal(gates(), hc.sample(gates.log_alpha, noise, hc.GateShape(beta=0.3, gamma=-0.2, zeta=1.2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("log_alpha", [-1.5, 0.0, 0.7])
def test_gates_are_open_as_often_as_their_probability_says(log_alpha: float, dtype: torch.dtype) -> None:
    n = 100_000
    gates = at(torch.full((n,), log_alpha)).to(dtype)
    p = gates.get_active_prob()[0].item()
    tolerance = 5 * math.sqrt(p * (1 - p) / n) + 2 * torch.finfo(dtype).eps
    assert (gates() > 0).double().mean().item() == pytest.approx(p, abs=tolerance)


@settings(deadline=None, max_examples=50)
@given(
    log_alpha=st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30),
    temperature=st.floats(0.05, 5),
    stretch=st.floats(0.01, 2),
)
def test_a_gate_is_counted_active_exactly_where_it_is_likelier_open_than_closed(
    log_alpha: list[float], temperature: float, stretch: float
) -> None:
    gates = at(torch.tensor(log_alpha), temperature=temperature, stretch=stretch).double().eval()
    likelier = gates.get_active_prob() > 0.5 + 1e-9
    unlikelier = gates.get_active_prob() < 0.5 - 1e-9
    values = gates()
    assert bool((values[likelier] > 0).all())
    assert bool((values[unlikelier] == 0).all())
    assert gates.get_num_active() == int((values > 0).sum())
    assert gates.get_sparsity() == pytest.approx((values == 0).double().mean().item())
    assert gates.get_penalty().item() == pytest.approx(gates.get_active_prob().sum().item())
    assert gates.get_penalty().item() == gates.expected_l0().item()


def test_counts_and_sparsity_are_those_of_test_time_in_training_too() -> None:
    threshold = hc.GateShape(beta=0.5).threshold
    gates = at(threshold + torch.tensor([-5.0, -0.1, 0.1, 5.0]).repeat(50))
    assert gates.training
    assert (gates.get_num_active(), gates.get_sparsity()) == (100, 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_the_slopes_of_gates_and_penalty_are_finite_and_closed_gates_feel_the_price(
    dtype: torch.dtype, training: bool
) -> None:
    gates = at(torch.linspace(-20, 20, 2001)).to(dtype).train(training)
    torch.autograd.backward(gates().sum() + gates.get_penalty())
    slope = gates.log_alpha.grad
    assert slope is not None
    assert slope.dtype == dtype
    assert bool(torch.isfinite(slope).all())
    assert bool((slope >= 0).all())
    assert bool((slope[gates.log_alpha.detach() < 5] > 0).all())


@pytest.mark.parametrize(
    ("size", "input_shape", "shaped"),
    [
        ((3,), (3,), (3,)),
        ((3,), (3, 5), (3, 1)),
        ((3,), torch.Size([3, 5, 7]), (3, 1, 1)),
        ((3, 4), (3, 4), (3, 4)),
        ((3, 4), [3, 4, 2], (3, 4, 1)),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_gates_are_shaped_to_multiply_the_first_axes_of_an_input(
    size: tuple[int, ...], input_shape: tuple[int, ...], shaped: tuple[int, ...], training: bool
) -> None:
    gates = HardConcrete(*size).train(training)(input_shape)
    assert gates.shape == shaped
    assert (torch.ones(tuple(input_shape)) * gates).shape == tuple(input_shape)


@pytest.mark.parametrize(
    ("size", "input_shape"),
    [((3,), (5, 3)), ((3,), ()), ((3, 4), (3,)), ((3, 4), (4, 3)), ((3,), 3), ((3,), torch.ones(3)), ((3,), "3")],
)
def test_an_input_that_has_not_one_entry_a_gate_is_refused(size: tuple[int, ...], input_shape: object) -> None:
    with pytest.raises(ShapeMismatch, match="input_shape is ") as refusal:
        HardConcrete(*size)(input_shape)
    assert repr(input_shape) in str(refusal.value)
    assert repr(size) in str(refusal.value)


def test_a_reset_puts_every_gate_back_to_its_start_with_new_jitter() -> None:
    gates = seeded(500, init_mean=0.2)
    first, start = gates.log_alpha.detach().clone(), hc.starting_log_alpha(0.2)
    with torch.no_grad():
        gates.log_alpha.fill_(9.0)
    gates.reset_parameters()
    assert (gates.log_alpha - start).abs().max().item() < 0.06
    assert not torch.equal(gates.log_alpha, first)


def test_closing_below_a_threshold_closes_those_gates_and_no_other() -> None:
    gates = at(torch.linspace(-6, 6, 101))
    before, probability = gates.log_alpha.detach().clone(), gates.get_active_prob().detach()
    gates.close_below(0.3)
    low = probability < 0.3
    assert 0 < int(low.sum()) < 101
    assert torch.equal(gates.log_alpha[~low], before[~low])
    assert bool((gates.get_active_prob()[low] < 4e-7).all())
    assert bool((gates()[low] == 0).all())
    assert gates.log_alpha.requires_grad


def test_a_saved_state_has_one_entry_and_gives_the_same_gates_back() -> None:
    saved = seeded(6, seed=1)
    assert list(saved.state_dict()) == ["log_alpha"]
    loaded = seeded(6, seed=2)
    loaded.load_state_dict(saved.state_dict())
    assert torch.equal(loaded.log_alpha, saved.log_alpha)


def test_a_state_of_l0_python_loads_and_is_left_as_it_was() -> None:
    theirs = {"qz_logits": torch.tensor([1.0, 2.0, 3.0])}
    gates = HardConcrete(3)
    gates.load_state_dict(theirs)
    assert gates.log_alpha.tolist() == [1.0, 2.0, 3.0]
    assert list(theirs) == ["qz_logits"]


@pytest.mark.parametrize("assign", [True, False])
def test_a_state_of_l0_python_loads_inside_a_model_too(assign: bool) -> None:
    def model() -> nn.Sequential:
        return nn.Sequential(L0Linear(3, 2), nn.ModuleDict({"gate": L0Gate(2)}), HardConcrete(2, 2))

    ours = model()
    theirs = {name.replace("log_alpha", "qz_logits"): value for name, value in model().state_dict().items()}
    names = list(theirs)
    assert sum("qz_logits" in name for name in names) == 3
    found = ours.load_state_dict(theirs, assign=assign)
    assert (found.missing_keys, found.unexpected_keys) == ([], [])
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs[name.replace("log_alpha", "qz_logits")])
    assert list(theirs) == names


def test_a_state_that_holds_the_locations_under_both_names_is_refused() -> None:
    both = {"log_alpha": torch.zeros(2), "qz_logits": torch.ones(2)}
    with pytest.raises(RuntimeError, match="qz_logits"):
        HardConcrete(2).load_state_dict(both)


def test_a_state_without_locations_is_refused_by_the_name_used_here() -> None:
    with pytest.raises(RuntimeError, match="log_alpha"):
        HardConcrete(2).load_state_dict({})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("size", SIZES)
def test_a_module_of_another_float_type_answers_in_that_type(size: tuple[int, ...], dtype: torch.dtype) -> None:
    gates = HardConcrete(*size).to(dtype)
    for value in (gates(), gates.eval()(), gates.get_active_prob(), gates.get_penalty(), gates.sum_of_squares()):
        assert value.dtype == dtype
        assert bool(((value >= 0) & torch.isfinite(value)).all())
    gates.reset_parameters()
    assert gates.log_alpha.dtype == dtype


def test_a_copy_has_the_same_gates_and_draws_others() -> None:
    gates = seeded(300)
    copied = copy.deepcopy(gates)
    assert torch.equal(copied.log_alpha, gates.log_alpha)
    assert not torch.equal(copied(), gates())
    with torch.no_grad():
        copied.log_alpha.zero_()
    assert not torch.equal(copied.log_alpha, gates.log_alpha)


def by_pickle(gates: HardConcrete) -> HardConcrete:
    back: HardConcrete = pickle.loads(pickle.dumps(gates))
    return back


def by_torch(gates: HardConcrete) -> HardConcrete:
    file = io.BytesIO()
    torch.save(gates, file)
    file.seek(0)
    back: HardConcrete = torch.load(file, weights_only=False)
    return back


@pytest.mark.parametrize("way", [by_pickle, by_torch])
def test_gates_from_a_file_go_on_as_the_ones_that_were_saved(way: Callable[[HardConcrete], HardConcrete]) -> None:
    gates = HardConcrete(20, 3, temperature=0.3, stretch=0.2)
    gates()
    back = way(gates)
    assert (back.gate_size, back.shape, back.training) == (gates.gate_size, gates.shape, True)
    for _ in range(2):
        assert torch.equal(back(), gates())


def test_the_temperature_sharpens_the_gates() -> None:
    gates = at(torch.linspace(-2, 2, 400)).eval()

    def partly_open() -> int:
        return int(((gates() > 0) & (gates() < 1)).sum())

    soft = partly_open()
    gates.set_temperature(0.05)
    assert partly_open() < soft / 5
    assert gates.shape.beta == 0.05


def test_gates_are_no_weights() -> None:
    assert HardConcrete(5).sum_of_squares().item() == 0.0


def test_the_print_of_a_model_says_how_many_gates_and_how_sharp() -> None:
    assert repr(HardConcrete(3, 4, temperature=0.25)) == "HardConcrete((3, 4), temperature=0.25, stretch=0.1)"


WRONG: list[tuple[str, object]] = [
    ("input_dim", 0),
    ("input_dim", -3),
    ("input_dim", 2.0),
    ("input_dim", True),
    ("input_dim", None),
    ("output_dim", 0),
    ("output_dim", 2.5),
    ("temperature", 0),
    ("temperature", -0.5),
    ("temperature", float("nan")),
    ("temperature", float("inf")),
    ("temperature", "warm"),
    ("stretch", 0),
    ("stretch", -0.1),
    ("stretch", 1e-17),
    ("stretch", float("nan")),
    ("init_mean", 0),
    ("init_mean", 1),
    ("init_mean", -0.5),
    ("init_mean", float("nan")),
    ("init_mean", None),
    ("generator", 3),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_argument_is_refused_with_its_name_and_its_value(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"input_dim": 3, "output_dim": 2, name: value}
    with pytest.raises(InvalidHyperparameter) as refusal:
        HardConcrete(**arguments)
    assert str(refusal.value).startswith(f"{name} is {value!r}; it must be ")
    assert refusal.value.pointer == f"/{name}"


def test_numpy_numbers_are_numbers() -> None:
    gates = HardConcrete(np.int64(3), temperature=np.float32(0.5))  # type: ignore[arg-type]  # they come from arrays
    assert gates.gate_size == (3,)


def test_a_stretch_at_which_gates_still_open_fully_is_taken() -> None:
    gates = at(torch.tensor([-20.0, 20.0]), stretch=1e-6).eval()
    gates.close_below(0.5)
    assert gates().tolist() == [0.0, 1.0]
