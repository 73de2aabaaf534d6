"""A finished network as an ONNX model: `features` (rows x columns, float32) in, `outputs` (rows x outputs) out."""

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from l0core.pruning.model import Model
from l0core.pruning.network import Conv2d, Flatten, Linear, MaxPool2d, Place, Relu
from l0core.version import VERSION

INPUT, OUTPUT, SHAPE = "features", "outputs", "input_shape"
_OPSET, _IR = 17, 8  # read by every runtime since 2022


def onnx_bytes(model: Model) -> bytes:
    """Give the model as a file's bytes, checked by onnx with all shapes inferred."""
    graph = helper.make_graph(
        list(_nodes(model)),
        "pruned",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", model.n_features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", model.plan.outputs])],
        initializer=list(_initializers(model)),
    )
    made = helper.make_model(
        graph,
        producer_name="l0core",
        producer_version=VERSION,
        ir_version=_IR,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())


class Runtime:
    """onnxruntime with one model on one thread of the CPU."""

    def __init__(self, model: bytes) -> None:
        import onnxruntime  # noqa: PLC0415 - it starts a thread, and a process that is to be forked must have none

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the outputs of `rows`."""
        (outputs,) = self._session.run([OUTPUT], {INPUT: rows})
        return np.asarray(outputs, dtype=np.float32)


def _initializers(model: Model) -> Iterator[TensorProto]:
    for name, array in model.weights.items():
        yield numpy_helper.from_array(array, name)
    if model.plan.network.input_shape is not None:
        yield numpy_helper.from_array(np.array([-1, *model.plan.network.input_shape], dtype=np.int64), SHAPE)


def _nodes(model: Model) -> Iterator[onnx.NodeProto]:
    given = INPUT
    if model.plan.network.input_shape is not None:
        yield helper.make_node("Reshape", [INPUT, SHAPE], ["images"], name="input")
        given = "images"
    last = model.plan.places[-1].index
    for place in model.plan.places:
        gives = OUTPUT if place.index == last else f"layers.{place.index}"
        yield _node(place, given, gives)
        given = gives


def _node(place: Place, given: str, gives: str) -> onnx.NodeProto:
    name = f"layers.{place.index}"
    weights = [given, f"{name}.weight", f"{name}.bias"]
    match place.layer:
        case Linear():
            return helper.make_node("Gemm", weights, [gives], name=name, transB=1)
        case Conv2d(stride=stride, padding=padding):
            return helper.make_node("Conv", weights, [gives], name=name, strides=[stride] * 2, pads=[padding] * 4)
        case Relu():
            return helper.make_node("Relu", [given], [gives], name=name)
        case Flatten():
            return helper.make_node("Flatten", [given], [gives], name=name, axis=1)
        case MaxPool2d(kernel_size=kernel, stride=stride):
            strides = [stride or kernel] * 2
            return helper.make_node("MaxPool", [given], [gives], name=name, kernel_shape=[kernel] * 2, strides=strides)
