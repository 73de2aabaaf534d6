"""A finished network: its plan and its weights as numbers, in the outcome's own unit. What is kept of a training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from l0core.pruning.data import Scale
from l0core.pruning.modules import rescaled, weights_of
from l0core.pruning.network import Conv2d, Layer, Linear, Network, Plan
from l0core.pruning.problem import Task


@dataclass(frozen=True, kw_only=True)
class Model:
    """`weights` in float32, named `layers.{i}.weight` and `layers.{i}.bias`, shaped as `plan` says."""

    plan: Plan
    weights: Mapping[str, NDArray[np.float32]]
    task: Task

    @classmethod
    def of(cls, network: nn.Sequential, plan: Plan, *, task: Task, scale: Scale) -> Self:
        """Take a plain network with the layers of `plan`, whatever sizes these have left."""
        own = rescaled(weights_of(network), plan, shift=scale.shift, unit=scale.unit)
        weights = {name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in own.items()}
        layers = [_sized(place.layer, weights, place.index) for place in plan.places]
        spec = Network(layers=layers, input_shape=plan.network.input_shape)
        columns = int(np.prod(plan.places[0].inputs))
        return cls(plan=Plan.of(spec, columns), weights=weights, task=task)

    @property
    def n_features(self) -> int:
        """How many columns a row of features has."""
        return int(np.prod(self.plan.places[0].inputs))

    @property
    def nonzeros(self) -> int:
        """How many of its parameters are not 0."""
        return sum(int(np.count_nonzero(array)) for array in self.weights.values())

    @property
    def bytes(self) -> int:
        """What its weights take, zeros included."""
        return sum(array.nbytes for array in self.weights.values())

    @property
    def architecture(self) -> dict[str, Any]:
        """Everything but the weights, as JSON; `network` is in the form of a problem's."""
        return {
            "format": 1,
            "task": self.task,
            "n_features": self.n_features,
            "n_outputs": self.plan.outputs,
            "n_parameters": self.plan.parameters,
            "network": self.plan.network.model_dump(exclude_none=True),
        }


def _sized(layer: Layer, weights: Mapping[str, NDArray[np.float32]], index: int) -> Layer:
    match layer:
        case Linear():
            return layer.model_copy(update={"units": len(weights[f"layers.{index}.bias"])})
        case Conv2d():
            return layer.model_copy(update={"channels": len(weights[f"layers.{index}.bias"])})
        case _:
            return layer
