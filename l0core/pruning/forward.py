"""A network's outputs by numpy alone: what a pruned network says about new rows, where no torch is loaded.

In float32 throughout, as runtimes of ONNX do: sums in float64 came out farther from theirs (1.1e-5 against 9.5e-6 for
scores of 37).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.numpy import load_file

from l0core.errors import NonfiniteInput, ShapeMismatch
from l0core.pruning.network import Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, Plan, Relu
from l0core.pruning.rows import dense_rows

Single = NDArray[np.float32]
Weights = Mapping[str, Single]
MODEL, ARCHITECTURE = "model.safetensors", "architecture.json"
_NUMBERS_AT_ONCE = 2**22  # of the largest layer: rows are taken in parts


def answer(asked: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    """Give `values`, a row of scores for each row of `features` (a number for a regression), and the `classes` chosen.

    `files` are the result's `model.safetensors` and `architecture.json`. Raises InvalidInput for other columns.
    """
    told = json.loads(files[ARCHITECTURE].read_text(encoding="utf-8"))
    rows = dense_rows(asked["features"])
    if rows.shape[1] != told["n_features"]:
        raise ShapeMismatch(
            f"features has {rows.shape[1]} columns; the network was made for {told['n_features']}", pointer="/features"
        )
    plan = Plan.of(Network.model_validate(told["network"]), rows.shape[1])
    outputs = forward(plan, load_file(files[MODEL]), rows.astype(np.float32))
    _check_finite(outputs)
    if told["task"] == "regression":
        return {"values": outputs[:, 0].tolist()}
    return {"values": outputs.tolist(), "classes": outputs.argmax(1).tolist()}


def forward(plan: Plan, weights: Weights, rows: Single) -> Single:
    """Give the outputs (rows x outputs) of the network with `weights` named `layers.{i}.weight` and `.bias`."""
    largest = max(_numbers(place.layer, place.inputs, place.outputs) for place in plan.places)
    at_once = max(1, _NUMBERS_AT_ONCE // largest)
    parts = [_part(plan, weights, rows[start : start + at_once]) for start in range(0, len(rows), at_once)]
    return np.concatenate(parts)


def _numbers(layer: Layer, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
    """Give how many numbers a layer handles for one row: a convolution looks at every window."""
    if isinstance(layer, Conv2d | MaxPool2d):
        return int(np.prod(outputs[1:])) * inputs[0] * layer.kernel_size**2 + int(np.prod(outputs))
    return int(np.prod(outputs))


def _part(plan: Plan, weights: Weights, rows: Single) -> Single:
    numbers = rows.reshape(-1, *plan.places[0].inputs)
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond float32 is refused at the end
        for place in plan.places:
            numbers = _applied(place.layer, place.index, weights, numbers)
    return numbers


def _applied(layer: Layer, index: int, weights: Weights, numbers: Single) -> Single:
    match layer:
        case Relu():
            return np.maximum(numbers, np.float32(0))
        case Flatten():
            return numbers.reshape(len(numbers), -1)
        case Linear():
            return np.asarray(numbers @ weights[f"layers.{index}.weight"].T + weights[f"layers.{index}.bias"])
        case Conv2d():
            return _convolved(layer, numbers, weights[f"layers.{index}.weight"], weights[f"layers.{index}.bias"])
        case MaxPool2d(kernel_size=kernel, stride=stride):
            return np.asarray(_windows(numbers, kernel, stride or kernel).max(axis=(4, 5)))


def _convolved(layer: Conv2d, images: Single, weight: Single, bias: Single) -> Single:
    edge = (layer.padding, layer.padding)
    padded = np.pad(images, ((0, 0), (0, 0), edge, edge))
    windows = _windows(padded, layer.kernel_size, layer.stride)
    summed = np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3)))  # rows, lines, columns, channels
    return np.ascontiguousarray((summed + bias).transpose(0, 3, 1, 2))


def _windows(images: Single, kernel: int, stride: int) -> Single:
    """Give every window as (rows, channels, lines, columns, kernel, kernel), a view."""
    windows: Single = sliding_window_view(images, (kernel, kernel), axis=(2, 3))
    return windows[:, :, ::stride, ::stride]


def _check_finite(outputs: Single) -> None:
    bad = np.flatnonzero(~np.isfinite(outputs).all(1))
    if bad.size:
        raise NonfiniteInput(
            f"the output for row {bad[0]} is beyond the largest float32: scale the features as in the training",
            pointer=f"/features/{bad[0]}",
        )
