"""A network as data: its layers, one after the other, and what shape each gives. Torch-free.

A shape is (features,) or (channels, height, width), the batch left out. Every fault is an InvalidInput that names the
layer.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from l0core.errors import InvalidInput, ShapeMismatch
from l0core.inputs import Described

Shape = tuple[int, ...]
MOST_PARAMETERS = 10_000_000
MOST_NUMBERS = 2**22  # that one layer gives for one row
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
_Side = Annotated[int, Field(ge=1, le=1_024)]
_Width = Annotated[int, Field(ge=1, le=65_536)]


class Linear(BaseModel):
    """A fully connected layer with a bias."""

    model_config = _STRICT
    type: Literal["linear"]
    units: _Width = Field(description="How many numbers it gives.")


class Conv2d(BaseModel):
    """A convolution with a square kernel, a bias, and zeros as padding."""

    model_config = _STRICT
    type: Literal["conv2d"]
    channels: _Width = Field(description="How many channels it gives.")
    kernel_size: _Side = Field(description="Side of the kernel, in pixels.")
    stride: _Side = Field(default=1, description="Distance of two places of the kernel, in pixels.")
    padding: int = Field(default=0, ge=0, le=1_024, description="Zeros on each side, in pixels.")


class Relu(BaseModel):
    """max(x, 0) of every number."""

    model_config = _STRICT
    type: Literal["relu"]


class Flatten(BaseModel):
    """An image becomes one row: channel by channel, line by line."""

    model_config = _STRICT
    type: Literal["flatten"]


class MaxPool2d(BaseModel):
    """The largest number of each square of a channel; what does not fill a square is left out."""

    model_config = _STRICT
    type: Literal["max_pool2d"]
    kernel_size: _Side = Field(description="Side of the square, in pixels.")
    stride: _Side | None = Field(default=None, description="Distance of two squares; `kernel_size` by default.")


Weighted = Linear | Conv2d
Layer = Weighted | Relu | Flatten | MaxPool2d


def _tag(value: object) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"~{kind}" if kind in _KINDS else None


_KINDS = ("linear", "conv2d", "relu", "flatten", "max_pool2d")
LayerInput = Annotated[
    Annotated[Linear, Tag("~linear")]
    | Annotated[Conv2d, Tag("~conv2d")]
    | Annotated[Relu, Tag("~relu")]
    | Annotated[Flatten, Tag("~flatten")]
    | Annotated[MaxPool2d, Tag("~max_pool2d")],
    Discriminator(
        _tag, custom_error_type="no_layer", custom_error_message=f"a layer's type is one of {', '.join(_KINDS)}"
    ),
]


class Network(Described):
    """Layers in order; the last is linear and gives one number a class, or the number itself."""

    model_config = _STRICT

    layers: list[LayerInput] = Field(min_length=1, max_length=64, description="The layers, from inputs to outputs.")
    input_shape: Annotated[list[_Width], Field(min_length=3, max_length=3)] | None = Field(
        default=None,
        description="[channels, height, width] that a row of the features stands for; none for plain rows.",
    )


@dataclass(frozen=True, kw_only=True)
class Place:
    """A layer of a network and what goes in and out."""

    index: int
    layer: Layer
    inputs: Shape
    outputs: Shape


@dataclass(frozen=True, kw_only=True)
class WeightedPlace:
    """A layer with weights.

    `units_in` are the units (features or channels) of the weighted layer before it, each of which stands for `block` of
    its weights an output: more than one where an image is flattened, or a kernel has more than one pixel.
    """

    index: int
    layer: Weighted
    weight_shape: Shape
    units_in: int

    @property
    def units(self) -> int:
        """How many units it gives."""
        return self.weight_shape[0]

    @property
    def block(self) -> int:
        """How many weights stand between one unit before it and one of its own."""
        return math.prod(self.weight_shape[1:]) // self.units_in

    @property
    def by_unit(self) -> Shape:
        """The weight's shape as (units, units before, weights between the two)."""
        return self.units, self.units_in, self.block

    @property
    def parameters(self) -> int:
        """Its weights and biases."""
        return math.prod(self.weight_shape) + self.units


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A network that fits its inputs: every layer with its shapes."""

    network: Network
    places: tuple[Place, ...]

    @classmethod
    def of(cls, network: Network, columns: int) -> Self:
        """Follow `columns` features through `network`; raises InvalidInput naming the layer that does not fit.

        >>> network = Network.model_validate({"layers": [{"type": "linear", "units": 3}]})
        >>> Plan.of(network, 4).parameters
        15
        """
        plan = cls(network=network, places=tuple(_places(network, _shape_of_a_row(network, columns))))
        _check_ends(plan)
        _check_size(plan)
        return plan

    @property
    def outputs(self) -> int:
        """How many numbers it gives for a row."""
        return self.places[-1].outputs[0]

    @property
    def weighted(self) -> tuple[WeightedPlace, ...]:
        """The layers with weights."""
        return tuple(_weighted(self.places))

    @property
    def parameters(self) -> int:
        """All weights and biases."""
        return sum(place.parameters for place in self.weighted)

    @property
    def numbers(self) -> int:
        """How many numbers all layers together give for one row."""
        return sum(math.prod(place.outputs) for place in self.places)


def _shape_of_a_row(network: Network, columns: int) -> Shape:
    if network.input_shape is None:
        return (columns,)
    if math.prod(network.input_shape) != columns:
        raise ShapeMismatch(
            f"input_shape {network.input_shape} stands for {math.prod(network.input_shape)} numbers a row, and "
            f"features has {columns} columns",
            pointer="/network/input_shape",
        )
    return tuple(network.input_shape)


def _places(network: Network, shape: Shape) -> Iterator[Place]:
    for index, layer in enumerate(network.layers):
        outputs = _after(layer, shape, index)
        if math.prod(outputs) > MOST_NUMBERS:
            raise _misfit(index, f"gives {math.prod(outputs)} numbers a row; {MOST_NUMBERS} is the limit")
        yield Place(index=index, layer=layer, inputs=shape, outputs=outputs)
        shape = outputs


def _after(layer: Layer, shape: Shape, index: int) -> Shape:
    match layer:
        case Relu():
            return shape
        case Flatten():
            return (math.prod(shape),)
        case Linear(units=units):
            if len(shape) != 1:
                raise _misfit(index, f"is linear and is given images {_shown(shape)}: put a flatten layer before it")
            return (units,)
        case Conv2d(channels=channels, kernel_size=kernel, stride=stride, padding=padding):
            return (channels, *_sides(shape, kernel, stride, padding, index))
        case MaxPool2d(kernel_size=kernel, stride=stride):
            return (shape[0], *_sides(shape, kernel, stride or kernel, 0, index))


def _sides(shape: Shape, kernel: int, stride: int, padding: int, index: int) -> Iterator[int]:
    if len(shape) != 3:
        raise _misfit(index, f"needs images and is given {shape[0]} features: give input_shape")
    for side in shape[1:]:
        if side + 2 * padding < kernel:
            raise _misfit(index, f"has a kernel of {kernel} pixels, and its images are {_shown(shape)}")
        yield (side + 2 * padding - kernel) // stride + 1


def _weighted(places: Sequence[Place]) -> Iterator[WeightedPlace]:
    before: int | None = None
    for place in places:
        match place.layer:
            case Linear(units=units):
                shape: Shape = (units, place.inputs[0])
            case Conv2d(channels=channels, kernel_size=kernel):
                shape = (channels, place.inputs[0], kernel, kernel)
            case _:
                continue
        yield WeightedPlace(
            index=place.index, layer=place.layer, weight_shape=shape, units_in=shape[1] if before is None else before
        )
        before = shape[0]


def _check_ends(plan: Plan) -> None:
    last = plan.places[-1]
    if not isinstance(last.layer, Linear):
        raise _misfit(last.index, f"is {last.layer.type}; the last layer must be linear, one unit for each output")


def _check_size(plan: Plan) -> None:
    if plan.parameters > MOST_PARAMETERS:
        raise InvalidInput(
            f"the network has {plan.parameters} parameters; {MOST_PARAMETERS} is the limit", pointer="/network/layers"
        )


def _misfit(index: int, what: str) -> InvalidInput:
    return InvalidInput(f"network.layers[{index}] {what}", pointer=f"/network/layers/{index}")


def _shown(shape: Shape) -> str:
    return " x ".join(map(str, shape))
