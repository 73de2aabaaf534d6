"""`L0Conv2d` and `L0DepthwiseConv2d` against torch's own convolution."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from l0core.errors import InvalidHyperparameter
from l0core.layers import L0Conv2d, L0DepthwiseConv2d
from l0core.layers.conv import Pair
from tests.l0core.layers.gated_nets import close, opened, randn, seeded


def sides(low: int, high: int) -> st.SearchStrategy[int | Pair]:
    return st.integers(low, high) | st.tuples(st.integers(low, high), st.integers(low, high))


@settings(deadline=None, max_examples=40)
@given(
    groups=st.sampled_from([1, 2, 4]),
    kernel=sides(1, 3),
    stride=sides(1, 3),
    padding=sides(0, 2),
    dilation=sides(1, 2),
    bias=st.booleans(),
    structured=st.booleans(),
    training=st.booleans(),
)
def test_with_every_gate_open_it_is_torch_s_convolution(
    groups: int,
    kernel: int | Pair,
    stride: int | Pair,
    padding: int | Pair,
    dilation: int | Pair,
    bias: bool,
    structured: bool,
    training: bool,
) -> None:
    layer = L0Conv2d(
        4, 8, kernel, stride, padding, bias, structured=structured, dilation=dilation, groups=groups, generator=seeded()
    ).train(training)
    opened(layer)
    x = randn(2, 4, 7, 8)
    expected = functional.conv2d(x, layer.weight, layer.bias, stride, padding, dilation, groups)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.plain(*layer.at_test_time())(x), expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), ((1, 2), (0, 2), (2, 1))])
def test_with_every_gate_open_the_depthwise_layer_convolves_each_channel_by_itself(
    stride: int | Pair, padding: int | Pair, dilation: int | Pair, bias: bool
) -> None:
    layer = L0DepthwiseConv2d(3, 3, stride, padding, bias, dilation=dilation, generator=seeded())
    opened(layer)
    x = randn(2, 3, 8, 9)
    for channel in range(3):
        alone = None if layer.bias is None else layer.bias[channel : channel + 1]
        one = functional.conv2d(
            x[:, channel : channel + 1], layer.weight[channel : channel + 1], alone, stride, padding, dilation
        )
        torch.testing.assert_close(layer(x)[:, channel : channel + 1], one)


def test_a_closed_channel_leaves_the_others_as_they_are() -> None:
    layer = L0Conv2d(2, 4, 3, padding=1, structured=True, generator=seeded()).eval()
    opened(layer)
    x = randn(2, 2, 5, 5)
    before = layer(x)
    close(layer, 2)
    assert bool((layer(x)[:, 2] == 0).all())
    torch.testing.assert_close(layer(x)[:, [0, 1, 3]], before[:, [0, 1, 3]])


def test_there_is_one_gate_a_weight_or_one_an_output_channel() -> None:
    assert L0Conv2d(4, 6, (2, 3), groups=2).gates.gate_size == (6, 2 * 2 * 3)
    assert L0Conv2d(4, 6, 3, structured=True).gates.gate_size == (6,)
    assert L0DepthwiseConv2d(5, 3).gates.gate_size == (5,)


@pytest.mark.parametrize("layer", [L0Conv2d(4, 4, 3, groups=4), L0DepthwiseConv2d(4, 3)])
def test_a_depthwise_plain_layer_has_one_group_a_channel_it_is_given(layer: L0Conv2d) -> None:
    plain = layer.plain(torch.ones(2, 1, 3, 3), None)
    assert (plain.groups, plain.in_channels, plain.out_channels, plain.bias) == (2, 2, 2, None)


@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "dilation"])
@pytest.mark.parametrize("value", [-1, 2.5, True, (1, 2, 3), (1,), (), "same", (1, -1), (1, 2.5), None])
def test_a_side_that_is_no_number_or_pair_of_numbers_is_refused(name: str, value: object) -> None:
    sizes: dict[str, Any] = {"kernel_size": 3} | {name: value}
    for build in (partial(L0Conv2d, 2, 4), partial(L0DepthwiseConv2d, 2)):
        with pytest.raises(InvalidHyperparameter, match=f"^{name} is ") as refusal:
            build(**sizes)
        wrong = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        assert f"{name} is {wrong!r}" in str(refusal.value)
        assert refusal.value.pointer == f"/{name}"


@pytest.mark.parametrize("name", ["kernel_size", "stride", "dilation"])
def test_a_side_of_zero_is_refused_but_for_the_padding(name: str) -> None:
    with pytest.raises(InvalidHyperparameter, match=f"{name} is 0"):
        L0Conv2d(2, 4, **({"kernel_size": 3} | {name: 0}))  # type: ignore[arg-type]  # a dict of one type
    assert L0Conv2d(2, 4, 3, padding=0).padding == (0, 0)


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "groups"])
@pytest.mark.parametrize("value", [0, -2, 1.5, False, "2"])
def test_a_count_of_channels_or_groups_that_is_no_whole_number_above_zero_is_refused(name: str, value: object) -> None:
    counts = {"in_channels": 2, "out_channels": 4, "groups": 1} | {name: value}
    with pytest.raises(InvalidHyperparameter, match=f"{name} is {value!r}"):
        L0Conv2d(kernel_size=3, **counts)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 3), (3, 4), (3, 3)])
def test_groups_that_do_not_divide_both_counts_of_channels_are_refused(inputs: int, outputs: int) -> None:
    with pytest.raises(InvalidHyperparameter, match=f"groups is 2.*\\({inputs}\\).*\\({outputs}\\)"):
        L0Conv2d(inputs, outputs, 3, groups=2)


def test_structured_is_true_or_false() -> None:
    with pytest.raises(InvalidHyperparameter, match="structured is 1"):
        L0Conv2d(2, 4, 3, structured=1)  # type: ignore[arg-type]  # wrong on purpose


def test_a_depthwise_file_of_l0_python_is_read() -> None:
    layer, other = L0DepthwiseConv2d(3, 3, generator=seeded()), L0DepthwiseConv2d(3, 3, generator=seeded(5))
    theirs = {
        "depthwise_conv.weight": layer.weight.detach(),
        "depthwise_conv.bias": torch.ones(3),
        "channel_gates.qz_logits": layer.gates.log_alpha.detach(),
    }
    other.load_state_dict(theirs)
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.gates.log_alpha, other.gates.log_alpha)
    assert set(theirs) == {"depthwise_conv.weight", "depthwise_conv.bias", "channel_gates.qz_logits"}
    held = torch.nn.Sequential(L0DepthwiseConv2d(3, 3, generator=seeded(6)))
    held.load_state_dict({f"0.{name}": value for name, value in theirs.items()})
    assert torch.equal(held.state_dict()["0.weight"], layer.weight)
