"""A network as data: shapes through its layers, its parameters, and what does not fit."""

from typing import Any

import pytest
from pydantic import ValidationError

from l0core.errors import InvalidInput
from l0core.pruning.network import Network, Plan
from tests.l0core.pruning.networks import IMAGES, mlp

CONV = {"type": "conv2d", "channels": 2, "kernel_size": 3}
FLAT, OUT, POOL = {"type": "flatten"}, {"type": "linear", "units": 2}, {"type": "max_pool2d", "kernel_size": 3}


def plan(network: dict[str, Any], columns: int) -> Plan:
    return Plan.of(Network.model_validate(network), columns)


def test_shapes_go_through_every_layer() -> None:
    shapes = [place.outputs for place in plan(IMAGES, 36).places]
    assert shapes == [(4, 6, 6), (4, 6, 6), (4, 3, 3), (36,), (8,), (8,), (2,)]


def test_parameters_are_weights_and_biases() -> None:
    assert plan(IMAGES, 36).parameters == (4 * 9 + 4) + (36 * 8 + 8) + (8 * 2 + 2)
    assert plan(mlp(3, 2), 5).parameters == (5 * 3 + 3) + (3 * 2 + 2)


def test_a_unit_of_a_convolution_stands_for_all_its_pixels_where_it_is_flattened() -> None:
    _, hidden, _ = plan(IMAGES, 36).weighted
    assert hidden.by_unit == (8, 4, 9)


@pytest.mark.parametrize(
    ("network", "columns", "says", "pointer"),
    [
        ({"layers": [OUT, {"type": "relu"}]}, 3, "last layer must be linear", "/network/layers/1"),
        ({"layers": [CONV, FLAT, OUT]}, 9, "needs images and is given 9 features", "/network/layers/0"),
        ({"layers": [OUT], "input_shape": [1, 3, 3]}, 9, "put a flatten layer before it", "/network/layers/0"),
        ({"layers": [FLAT, OUT], "input_shape": [1, 3, 3]}, 8, "stands for 9 numbers", "/network/input_shape"),
        ({"layers": [CONV, FLAT, OUT], "input_shape": [1, 2, 5]}, 10, "kernel of 3 pixels", "/network/layers/0"),
        ({"layers": [POOL, FLAT, OUT], "input_shape": [1, 2, 5]}, 10, "images are 1 x 2 x 5", "/network/layers/0"),
        ({"layers": [{"type": "linear", "units": 65_536}, OUT]}, 1_000, "10000000 is the limit", "/network/layers"),
        (
            {"layers": [CONV | {"channels": 65_536, "padding": 9}, FLAT, OUT], "input_shape": [1, 9, 9]},
            81,
            "numbers a row",
            "/network/layers/0",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(
    network: dict[str, Any], columns: int, says: str, pointer: str
) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        plan(network, columns)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [OUT] * 65,
        [{"type": "tanh"}],
        [{"units": 3}],
        [{"type": "linear"}],
        [{"type": "linear", "units": 0}],
        [{"type": "linear", "units": 2.5}],
        [{"type": "linear", "units": True}],
        [{"type": "linear", "units": 2, "bias": False}],
        [CONV | {"kernel_size": 0}],
        [CONV | {"padding": -1}],
        [CONV | {"stride": 0}],
        ["linear"],
    ],
)
def test_layers_of_another_form_are_refused(layers: list[Any]) -> None:
    with pytest.raises(ValidationError):
        Network.model_validate({"layers": layers})
