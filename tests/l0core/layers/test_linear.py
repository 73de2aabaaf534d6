"""`L0Linear` against torch's own linear function."""

import pytest
import torch
from torch.nn import functional

from l0core.errors import InvalidHyperparameter
from l0core.layers import L0Linear
from tests.l0core.layers.gated_nets import a_layer, close, opened, randn, seeded


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 5, 4)])
def test_with_every_gate_open_it_is_torch_s_linear(shape: tuple[int, ...], bias: bool, structured: bool) -> None:
    layer = L0Linear(4, 3, bias, structured=structured, generator=seeded())
    opened(layer)
    x = randn(*shape)
    for mode in (True, False):
        y = layer.train(mode)(x)
        assert y.shape == (*shape[:-1], 3)
        torch.testing.assert_close(y, functional.linear(x, layer.weight, layer.bias))


def test_one_closed_weight_takes_away_its_own_product_only() -> None:
    layer = L0Linear(4, 3, generator=seeded()).eval()
    opened(layer)
    layer.gates.log_alpha.data[1, 2] = -9.0
    x = randn(5, 4)
    expected = functional.linear(x, layer.weight, layer.bias)
    expected[:, 1] -= layer.weight[1, 2] * x[:, 2]
    torch.testing.assert_close(layer(x), expected)


def test_there_is_one_gate_a_weight_or_one_an_output() -> None:
    assert L0Linear(4, 3).gates.gate_size == (3, 4)
    assert L0Linear(4, 3, structured=True).gates.gate_size == (3,)


def test_the_plain_layer_has_the_same_sizes_and_outputs() -> None:
    layer = a_layer("structured linear").eval()
    assert isinstance(layer, L0Linear)
    close(layer, 0)
    plain = layer.plain(*layer.at_test_time())
    assert (plain.in_features, plain.out_features) == (4, 30)
    torch.testing.assert_close(plain(randn(5, 4)), layer(randn(5, 4)))


@pytest.mark.parametrize("name", ["in_features", "out_features"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3", None])
def test_a_size_that_is_no_whole_number_above_zero_is_refused(name: str, value: object) -> None:
    sizes = {"in_features": 4, "out_features": 3} | {name: value}
    with pytest.raises(InvalidHyperparameter, match=f"{name} is {value!r}") as refusal:
        L0Linear(**sizes)  # type: ignore[arg-type]  # wrong on purpose
    assert isinstance(refusal.value, ValueError)


@pytest.mark.parametrize("value", [1, None])
def test_structured_is_true_or_false(value: object) -> None:
    with pytest.raises(InvalidHyperparameter, match=f"structured is {value!r}"):
        L0Linear(4, 3, structured=value)  # type: ignore[arg-type]  # wrong on purpose
