"""Networks and rows for the tests of pruning: small ones, and random ones for Hypothesis."""

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.pruning.network import Network, Plan
from l0core.pruning.options import PruningHyperparameters
from l0core.pruning.problem import PruningProblem
from l0core.pruning.starting import names_of

IMAGES: dict[str, Any] = {
    "input_shape": [1, 6, 6],
    "layers": [
        {"type": "conv2d", "channels": 4, "kernel_size": 3, "padding": 1},
        {"type": "relu"},
        {"type": "max_pool2d", "kernel_size": 2},
        {"type": "flatten"},
        {"type": "linear", "units": 8},
        {"type": "relu"},
        {"type": "linear", "units": 2},
    ],
}
QUICK: dict[str, Any] = {"epochs": 4, "finetune_epochs": 3, "batch_size": 16, "learning_rate": 0.01}


def mlp(*units: int) -> dict[str, Any]:
    """Linear layers with ReLU between them."""
    layers: list[dict[str, Any]] = []
    for width in units[:-1]:
        layers += [{"type": "linear", "units": width}, {"type": "relu"}]
    return {"layers": [*layers, {"type": "linear", "units": units[-1]}]}


def rows(n: int = 90, columns: int = 6, *, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, columns))


def two_classes(**changed: Any) -> PruningProblem:
    """90 rows whose class is the sign of their first columns' sum."""
    x = rows()
    given: dict[str, Any] = {"task": "classification", "network": mlp(16, 12, 2)} | changed
    return PruningProblem.build(x, 1 * (x[:, 0] + x[:, 1] > 0), **given)


def images(**changed: Any) -> PruningProblem:
    x = rows(60, 36)
    given: dict[str, Any] = {"task": "classification", "network": IMAGES} | changed
    return PruningProblem.build(x, 1 * (x[:, :18].sum(1) > 0), **given)


def a_line(**changed: Any) -> PruningProblem:
    """90 rows whose outcome is a line, far from 0 and wide."""
    x = rows()
    given: dict[str, Any] = {"task": "regression", "network": mlp(12, 1)} | changed
    return PruningProblem.build(x, 5_000 + 200 * (x[:, 0] - 2 * x[:, 1]), **given)


def options(**changed: Any) -> PruningHyperparameters:
    return PruningHyperparameters(**(QUICK | {"target_sparsity": 0.5} | changed))


def random_weights(plan: Plan, seed: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(size=shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32)
        for name, shape in names_of(plan).items()
    }


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any network that fits: some convolutions and pools, then linear layers."""
    side = draw(st.integers(4, 9))
    layers: list[dict[str, Any]] = []
    channels = draw(st.integers(1, 3))
    image = draw(st.booleans())
    left = side
    for _ in range(draw(st.integers(1, 2)) if image else 0):
        kernel, stride, padding = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1))
        if left + 2 * padding < kernel:
            break
        conv = {"type": "conv2d", "channels": draw(st.integers(1, 5)), "kernel_size": kernel, "stride": stride}
        layers.append(conv | {"padding": padding})
        left = (left + 2 * padding - kernel) // stride + 1
        layers += [{"type": "relu"}] * draw(st.integers(0, 1))
        if left >= 2 and draw(st.booleans()):
            step = draw(st.sampled_from([None, 1, 2]))
            layers.append({"type": "max_pool2d", "kernel_size": 2, "stride": step})
            left = (left - 2) // (step or 2) + 1
    layers += [{"type": "flatten"}] if image else []
    for width in draw(st.lists(st.integers(1, 20), min_size=0, max_size=3)):
        layers += [{"type": "linear", "units": width}, {"type": "relu"}]
    layers.append({"type": "linear", "units": draw(st.integers(1, 5))})
    shape = {"input_shape": [channels, side, side]} if image else {}
    columns = channels * side * side if image else draw(st.integers(1, 12))
    return Plan.of(Network.model_validate({"layers": layers, **shape}), columns)
