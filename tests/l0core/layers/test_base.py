"""What every gated layer keeps, whichever kind it is."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from l0core import hard_concrete as hc
from l0core.errors import InvalidHyperparameter
from l0core.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear
from l0core.layers.base import filled
from tests.l0core.layers.gated_nets import KINDS, STRUCTURED, a_layer, an_input, close, every_layer, opened, seeded

UNSTRUCTURED = tuple(kind for kind in KINDS if kind not in STRUCTURED)
WRONG = {
    "temperature": (0, -0.5, math.nan, math.inf, "hot", True),
    "init_sparsity": (0, 1, 1.5, -0.1, math.nan, True),
    "use_l2": (1, None, "no"),
    "bias": (1, 0, None),
    "generator": (7, np.random.default_rng(1)),
}


def _made(kind: str, **settings: object) -> nn.Module:
    if "linear" in kind:
        return L0Linear(4, 3, structured=kind in STRUCTURED, **settings)  # type: ignore[arg-type]  # wrong on purpose
    if "depthwise" in kind:
        return L0DepthwiseConv2d(2, 3, **settings)  # type: ignore[arg-type]  # wrong on purpose
    return L0Conv2d(2, 4, 3, structured=kind in STRUCTURED, **settings)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
@pytest.mark.parametrize("kind", KINDS)
def test_a_setting_out_of_range_is_refused_by_name_and_value(kind: str, name: str, value: object) -> None:
    with pytest.raises(InvalidHyperparameter, match=name) as refusal:
        _made(kind, **{name: value})
    assert isinstance(refusal.value, ValueError)
    assert f"{name} is {value!r}" in refusal.value.message
    assert refusal.value.pointer == f"/{name}"


@pytest.mark.parametrize("kind", KINDS)
def test_two_calls_in_training_draw_different_gates(kind: str) -> None:
    layer = a_layer(kind)
    x = an_input(layer)
    assert not torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("kind", KINDS)
def test_at_test_time_nothing_is_drawn(kind: str) -> None:
    layer = a_layer(kind).eval()
    before = layer.gates.noise.on(torch.device("cpu")).get_state()
    x = an_input(layer)
    assert torch.equal(layer(x), layer(x))
    assert torch.equal(before, layer.gates.noise.on(torch.device("cpu")).get_state())


@pytest.mark.parametrize("kind", KINDS)
def test_at_test_time_gives_what_eval_multiplies_with_whatever_the_mode(kind: str) -> None:
    layer = a_layer(kind)
    x = an_input(layer)
    in_training = layer.train().at_test_time()
    expected = layer.eval()(x)
    torch.testing.assert_close(layer.plain(*in_training)(x), expected)
    assert not any(tensor.requires_grad for tensor in in_training if tensor is not None)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", STRUCTURED)
def test_a_closed_channel_gives_exactly_zero_bias_included(kind: str, bias: bool) -> None:
    layer = a_layer(kind, bias=bias)
    opened(layer)
    close(layer, 1)
    for mode in (True, False):
        y = layer.train(mode)(an_input(layer))
        assert bool((y[:, 1] == 0).all())
        assert bool((y[:, 0] != 0).any())


@pytest.mark.parametrize("kind", UNSTRUCTURED)
def test_the_bias_of_an_unstructured_layer_has_no_gate(kind: str) -> None:
    layer = a_layer(kind)
    close(layer, 0, 1, 2)
    y = layer.eval()(an_input(layer))
    assert layer.bias is not None
    assert bool((y[:, 1] == layer.bias[1]).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_is_drawn_once_a_call_and_multiplies_all_that_stands_behind_it(kind: str) -> None:
    layer = a_layer(kind)
    weight, bias = layer.gated()
    ratio = (weight / layer.weight).flatten(1)
    assert bool(torch.isclose(ratio, ratio[:, :1]).all()) == layer.structured
    if layer.structured:
        assert bias is not None
        assert layer.bias is not None
        torch.testing.assert_close(bias / layer.bias, ratio[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_reaches_weight_bias_and_gates(kind: str) -> None:
    layer = a_layer(kind)
    layer(an_input(layer)).square().sum().backward()
    assert [name for name, p in layer.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert len(list(layer.parameters())) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_layer_and_the_same_draws(kind: str) -> None:
    first, again = a_layer(kind), a_layer(kind)
    x = an_input(first)
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.gates.log_alpha, again.gates.log_alpha)
    assert torch.equal(first(x), again(x))


def test_two_layers_made_alike_share_neither_weights_nor_noise() -> None:
    first, second = L0Linear(4, 30), L0Linear(4, 30)
    assert not torch.equal(first.weight, second.weight)
    assert not torch.equal(first.gates.drawn(), second.gates.drawn())


def test_two_layers_that_are_handed_one_generator_go_on_where_the_other_stopped() -> None:
    generator = seeded()
    first, second = L0Linear(4, 30, generator=generator), L0Linear(4, 30, generator=generator)
    second.gates.log_alpha.data.copy_(first.gates.log_alpha)
    assert not torch.equal(first.weight, second.weight)
    assert not torch.equal(first.gates.drawn(), second.gates.drawn())


@pytest.mark.parametrize("given", [True, False])
def test_the_global_generators_are_left_alone(given: bool) -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()
    layers = every_layer().values() if given else (L0Linear(4, 3), L0Conv2d(2, 4, 3))
    for layer in layers:
        layer(an_input(layer)).sum().backward()
        layer.reset_parameters()
        copy.deepcopy(layer)(an_input(layer))
        layer.plain(*layer.at_test_time())
    assert torch.equal(torch_before, torch.get_rng_state())
    assert str(numpy_before) == str(np.random.get_state())


@pytest.mark.parametrize("kind", KINDS)
def test_the_l0_penalty_is_the_sum_of_the_probabilities_that_a_gate_is_open(kind: str) -> None:
    layer = a_layer(kind)
    expected = hc.prob_active(layer.gates.log_alpha.double(), layer.gates.shape).sum()
    torch.testing.assert_close(layer.get_l0_penalty().double(), expected, rtol=1e-6, atol=0)
    assert layer.get_l0_penalty().requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_the_l2_penalty_is_that_of_weights_and_biases_and_zero_unless_asked_for(kind: str) -> None:
    silent, asked = a_layer(kind), a_layer(kind, use_l2=True)
    assert silent.get_l2_penalty().item() == 0
    assert asked.bias is not None
    expected = asked.weight.square().sum() + asked.bias.square().sum()
    torch.testing.assert_close(asked.get_l2_penalty(), expected)
    assert asked.get_l2_penalty().requires_grad


def test_the_l2_penalty_of_a_layer_without_bias_is_that_of_its_weights() -> None:
    layer = L0Linear(4, 3, bias=False, use_l2=True)
    torch.testing.assert_close(layer.get_l2_penalty(), layer.weight.square().sum())


@pytest.mark.parametrize("kind", KINDS)
def test_the_sparsity_is_the_share_of_gated_parameters_that_are_zero_at_test_time(kind: str) -> None:
    layer = a_layer(kind)
    opened(layer)
    assert layer.get_sparsity() == 0
    close(layer, 0)
    weight, bias = layer.at_test_time()
    gated = [weight, bias] if layer.structured and bias is not None else [weight]
    closed, total = sum(int((t == 0).sum()) for t in gated), sum(t.numel() for t in gated)
    assert layer.get_sparsity() == pytest.approx(closed / total)
    assert (layer.count().total - layer.count().active, layer.count().total) == (closed, total)


def test_a_structured_channel_counts_its_bias_only_if_it_has_one() -> None:
    assert L0Linear(4, 3, structured=True).count().total == 3 * (4 + 1)
    assert L0Linear(4, 3, structured=True, bias=False).count().total == 3 * 4
    assert L0Linear(4, 3).count().total == 3 * 4


@pytest.mark.parametrize("kind", KINDS)
def test_reset_parameters_starts_again(kind: str) -> None:
    layer = a_layer(kind)
    with torch.no_grad():
        layer.weight.fill_(77)
        layer.gates.log_alpha.fill_(77)
    layer.reset_parameters()
    assert layer.bias is not None
    assert not bool(layer.bias.any())
    assert bool((layer.weight.abs() < 10).all())
    torch.testing.assert_close(layer.gates.log_alpha.mean().item(), 0.0, atol=0.03, rtol=0)


def test_weights_start_with_the_variance_of_he_et_al() -> None:
    layer = L0Conv2d(64, 256, 3, groups=2, generator=seeded())
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("init_sparsity", "log_alpha"), [(0.5, 0.0), (0.1, math.log(9)), (0.9, -math.log(9))])
def test_gates_start_where_init_sparsity_says(init_sparsity: float, log_alpha: float) -> None:
    layer = L0Linear(40, 30, init_sparsity=init_sparsity, generator=seeded())
    assert layer.gates.log_alpha.mean().item() == pytest.approx(log_alpha, abs=2e-3)
    assert 0 < layer.gates.log_alpha.std().item() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_carries_a_layer_over(kind: str) -> None:
    layer, other = a_layer(kind), every_layer()[kind]
    close(layer, 0)
    other.reset_parameters()
    other.load_state_dict(layer.state_dict())
    x = an_input(layer)
    assert torch.equal(layer.eval()(x), other.eval()(x))
    gates = "channel_gates.log_alpha" if layer.structured else "weight_gates.log_alpha"
    assert set(layer.state_dict()) == {"weight", "bias", gates}


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_has_the_same_weights_and_draws_other_noise(kind: str) -> None:
    layer = a_layer(kind)
    twin, x = copy.deepcopy(layer), an_input(layer)
    assert torch.equal(layer.eval()(x), twin.eval()(x))
    assert not torch.equal(layer.train()(x), twin.train()(x))
    twin.weight.data.zero_()
    assert bool(layer.weight.any())


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickled_layer_goes_on_with_the_noise_it_was_at(kind: str) -> None:
    layer = a_layer(kind)
    x = an_input(layer)
    layer(x)
    twin = pickle.loads(pickle.dumps(layer))
    assert torch.equal(layer(x), twin(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_other_float_types_run_forward_and_backward(kind: str, dtype: torch.dtype) -> None:
    layer = a_layer(kind).to(dtype)
    y: Tensor = layer(an_input(layer).to(dtype))
    torch.autograd.backward(y.float().square().sum() + layer.get_l0_penalty())
    assert y.dtype == dtype
    assert bool(torch.isfinite(y).all())
    assert all(p.grad is not None and p.grad.dtype == dtype and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_temperature_that_is_set_is_that_of_the_gates(kind: str) -> None:
    layer = a_layer(kind)
    layer.set_temperature(0.1)
    assert layer.gates.temperature == 0.1
    with pytest.raises(InvalidHyperparameter, match="temperature is 0"):
        layer.set_temperature(0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_printed_shows_the_shape_of_the_weights(kind: str) -> None:
    layer = a_layer(kind)
    assert f"weight {'x'.join(str(n) for n in layer.weight.shape)}" in repr(layer)
    assert f"structured={layer.structured}" in repr(layer)


def test_a_filled_layer_holds_what_it_is_given_and_draws_nothing() -> None:
    before = torch.get_rng_state()
    weight, bias = torch.ones(3, 4, dtype=torch.float64), torch.arange(3.0, dtype=torch.float64)
    layer = filled(nn.Linear, 4, 3, weight=weight, bias=bias)
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.bias, bias)
    assert filled(nn.Linear, 4, 3, weight=weight, bias=None).bias is None
    assert torch.equal(before, torch.get_rng_state())
