"""What each step between two layers does to a channel that is constant, against the operation itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.nn import functional

from l0core.layers.courses import courses_of
from l0core.layers.solid import solid_layers
from l0core.layers.steps import Depthwise, Network, Norm, Pool, Step, step_of
from tests.l0core.layers.gated_nets import randn


def step(module: nn.Module, *, spatial: bool = True) -> Step | None:
    """The step of the last thing called in a network of `module` alone."""
    net = nn.Sequential(module).eval()
    node = _last(courses_of(net)[0].graph)
    return step_of(node, Network(model=net, layers=solid_layers(net), cuttable=frozenset({"0"})), spatial=spatial)


def _last(graph: fx.Graph) -> fx.Node:
    *_, last = (node for node in graph.nodes if node.op not in ("placeholder", "output"))
    assert isinstance(last, fx.Node)
    return last


def normalised() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(3)
    norm.running_mean, norm.running_var = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([1.0, 4.0, 0.25])
    norm.weight.data.copy_(torch.tensor([1.0, -2.0, 0.0]))
    norm.bias.data.copy_(torch.tensor([0.0, 1.0, 3.0]))
    return norm


def depthwise(padding: int) -> nn.Conv2d:
    layer = nn.Conv2d(3, 3, 3, padding=padding, groups=3)
    layer.weight.data.copy_(randn(3, 1, 3, 3))
    layer.weight.data[2] = 0
    return layer


STEPS: dict[str, nn.Module] = {
    "max pool": nn.MaxPool2d(3, stride=2, padding=1),
    "max pool, rounded up": nn.MaxPool2d(2, stride=3, ceil_mode=True),
    "average pool": nn.AvgPool2d(2),
    "average pool, rounded up": nn.AvgPool2d(3, stride=2, ceil_mode=True),
    "average pool, padded": nn.AvgPool2d(3, padding=1),
    "average pool, padded, zeros left out": nn.AvgPool2d(3, padding=1, count_include_pad=False),
    "average pool, other divisor": nn.AvgPool2d(2, divisor_override=3),
    "adaptive average pool": nn.AdaptiveAvgPool2d(3),
    "adaptive max pool": nn.AdaptiveMaxPool2d((2, 3)),
    "norm": normalised(),
    "depthwise convolution": depthwise(0),
    "depthwise convolution, padded": depthwise(1),
    "dropout": nn.Dropout(0.9),
    "dropout of channels": nn.Dropout2d(0.9),
    **{
        kind.__name__: kind()
        for kind in (
            nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Identity, nn.LeakyReLU,
            nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanh,
        )
    },
}  # fmt: skip


@settings(deadline=None, max_examples=15)
@given(value=st.lists(st.sampled_from([0.0, 1.5]) | st.floats(-3, 3, width=32), min_size=3, max_size=3))
@pytest.mark.parametrize("kind", STEPS)
def test_a_channel_said_to_be_constant_is_so_at_the_value_said(kind: str, value: list[float]) -> None:
    module = STEPS[kind].eval()
    followed = step(module)
    assert followed is not None
    constants = torch.tensor(value)
    known, after = followed.carry(torch.tensor([True, True, False]), constants)
    images = constants.view(1, 3, 1, 1).expand(2, 3, 7, 8).clone()
    images[:, 2] = randn(2, 7, 8)
    given_ = module(images)
    for channel in torch.nonzero(known).flatten().tolist():
        expected = after[channel].expand(given_[:, channel].shape)
        torch.testing.assert_close(given_[:, channel], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in STEPS if not isinstance(STEPS[kind], nn.AvgPool2d | nn.Conv2d)])
def test_a_constant_channel_stays_known_where_no_border_takes_part(kind: str) -> None:
    followed = step(STEPS[kind])
    assert followed is not None
    known = torch.tensor([True, False, True])
    assert torch.equal(followed.carry(known, torch.ones(3))[0], known)


BORDERS = (
    ("average pool", [True, True]),
    ("average pool, rounded up", [True, True]),
    ("average pool, padded", [True, False]),
    ("average pool, other divisor", [True, False]),
    ("depthwise convolution", [True, True]),
    ("depthwise convolution, padded", [True, False]),
)


@pytest.mark.parametrize(("kind", "expected"), BORDERS)
def test_at_a_border_of_zeros_only_a_zero_stays_constant(kind: str, expected: list[bool]) -> None:
    followed = step(STEPS[kind])
    assert followed is not None
    known, _ = followed.carry(torch.tensor([True, True, False]), torch.tensor([0.0, 2.0, 0.0]))
    assert known[:2].tolist() == expected


def test_a_kernel_of_zeros_makes_a_channel_constant() -> None:
    followed = step(STEPS["depthwise convolution, padded"])
    assert isinstance(followed, Depthwise)
    known, value = followed.carry(torch.zeros(3, dtype=torch.bool), torch.full((3,), torch.nan))
    assert known.tolist() == [False, False, True]
    assert value[2] == followed.layer.offset()[2]


@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_that_loses_channels_keeps_those_of_the_others(affine: bool) -> None:
    norm = nn.BatchNorm2d(3, affine=affine).eval()
    norm.running_mean = torch.tensor([1.0, 2.0, 3.0])
    x = randn(2, 3, 4, 4)
    expected = norm(x)[:, [0, 2]]
    Norm(module=norm).keep_only(torch.tensor([True, False, True]))
    torch.testing.assert_close(norm(x[:, [0, 2]]), expected)
    assert norm.num_features == 2


@pytest.mark.parametrize(
    ("module", "spatial"),
    [
        (nn.BatchNorm1d(3), True),
        (nn.BatchNorm2d(3), False),
        (nn.BatchNorm2d(3, track_running_stats=False), True),
        (nn.MaxPool2d(2), False),
        (nn.MaxPool2d(2, return_indices=True), True),
        (nn.AdaptiveMaxPool2d(2, return_indices=True), True),
        (nn.Conv2d(3, 3, 3, groups=3), False),
        (nn.Flatten(0), True),
        (nn.PReLU(), True),
        (nn.Threshold(0.5, 2.0), True),
        (nn.RReLU(), True),
        (nn.Dropout3d(), True),
    ],
)
def test_a_module_that_does_not_keep_channels_apart_or_is_not_known_is_no_step(
    module: nn.Module, spatial: bool
) -> None:
    assert step(module, spatial=spatial) is None


class Applies(nn.Module):
    """One call of a function or method."""

    def __init__(self, call: str) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = eval(self.call, {"torch": torch, "F": functional, "x": x})  # our own words
        return result


CALLS = {
    "torch.relu(x)": True,
    "torch.sigmoid(x)": True,
    "torch.tanh(x)": True,
    "F.relu(x, inplace=True)": True,
    "F.leaky_relu(x, 0.3)": True,
    "F.elu(x, alpha=0.5)": True,
    "F.hardtanh(x, -0.5, 0.5)": True,
    "F.gelu(x, approximate='tanh')": True,
    "F.softplus(x, beta=2)": True,
    "F.hardswish(x)": True,
    "F.mish(x)": True,
    "F.relu6(x)": True,
    "F.selu(x)": True,
    "F.silu(x)": True,
    "F.sigmoid(x)": True,
    "F.tanh(x)": True,
    "x.relu()": True,
    "x.sigmoid()": True,
    "x.tanh_()": True,
    "F.dropout(x, 0.5, False)": True,
    "F.dropout(x, training=False)": True,
    "F.dropout(x)": False,
    "F.dropout(x, 0.5, True)": False,
    "F.softmax(x, 1)": False,
    "F.layer_norm(x, (3,))": False,
    "F.normalize(x)": False,
    "F.glu(x.repeat(1, 2), 1)": False,
    "x.flip(1)": False,
    "x.cumsum(1)": False,
    "x + 1": False,
    "torch.flatten(x)": False,
    "torch.flatten(x, 1)": True,
    "torch.flatten(x, start_dim=1, end_dim=-1)": True,
    "x.flatten(1)": True,
    "x.flatten(start_dim=1)": True,
    "x.flatten(0)": False,
    "x.view(2, -1)": False,
}


@pytest.mark.parametrize("call", CALLS)
def test_a_function_is_a_step_where_it_keeps_features_apart(call: str) -> None:
    net = Applies(call)
    node = _last(courses_of(net)[0].graph)
    followed = step_of(node, Network(model=net, layers={}, cuttable=frozenset()), spatial=False)
    assert (followed is not None) == CALLS[call]
    if followed is not None:
        value = torch.tensor([-1.0, 0.3, 2.0])
        after = followed.carry(torch.ones(3, dtype=torch.bool), value)[1]
        torch.testing.assert_close(after, net(torch.tensor([[-1.0, 0.3, 2.0]]))[0])
        assert value.tolist() == pytest.approx([-1.0, 0.3, 2.0])


@pytest.mark.parametrize("call", ["F.max_pool2d(x, 2)", "torch.max_pool2d(x, 2)", "F.adaptive_avg_pool2d(x, 1)"])
def test_a_function_that_pools_is_a_step_on_images_only(call: str) -> None:
    net = Applies(call)
    node = _last(courses_of(net)[0].graph)
    network = Network(model=net, layers={}, cuttable=frozenset())
    assert isinstance(step_of(node, network, spatial=True), Pool)
    assert step_of(node, network, spatial=False) is None
