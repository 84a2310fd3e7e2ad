"""Tiny ONNX models for the tests of the vision path: python make.py (needs `onnx`).

toy-detector.onnx  finds a bright 8x8 cell and claims a plate of 32x16 pixels around its centre
toy-aligner.onnx   puts the corners a fifth of a bright window inside it, of a dark one onto a point
toy-reader.onnx    reads "1A" on bright plates and "0A" on dark ones; state: first of two
nan-detector.onnx  as the detector, but every score is NaN
nan-aligner.onnx   as the aligner, but no corner is a number
nan-reader.onnx    as the reader, but no probability of a state is a number
wide-detector.onnx as the detector, but with two planes of scores
lost-detector.onnx as the detector, but its corners are called otherwise
future-detector.onnx as the detector, but of an operator set that no ONNX Runtime knows yet
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
FLOAT = TensorProto.FLOAT


def constant(name, values):
    """Initializer from nested lists."""
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def save(name, nodes, inputs, outputs, constants, opset=None):
    """Check and write a graph; `opset` is claimed after the check."""
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    if opset:
        model.opset_import[0].version = opset
    onnx.save(model, HERE / f"{name}.onnx")


def detector(name, broken=0.0, planes=1, corners="corners", opset=None):
    """heat = 8 * relu(mean of the cell - 0.875), clipped to 1; corners are constant. `broken` is added to the 8."""
    node = helper.make_node
    nodes = [
        node("AveragePool", ["luma"], ["mean"], kernel_shape=[8, 8], strides=[8, 8]),
        node("Sub", ["mean", "level"], ["above"]),
        node("Relu", ["above"], ["lit"]),
        node("Mul", ["lit", "gain"], ["raw"]),
        node("Min", ["raw", "one"], ["score"]),
        node("Concat", ["score"] * planes, ["heat"], axis=1),
        node("Mul", ["mean", "zero"], ["nothing"]),
        node("Add", ["nothing", "quad"], [corners]),
    ]
    quad = np.array([-16, -8, 16, -8, 16, 8, -16, 8], np.float32).reshape(1, 8, 1, 1)
    save(
        name,
        nodes,
        [helper.make_tensor_value_info("luma", FLOAT, ["n", 1, "h", "w"])],
        [
            helper.make_tensor_value_info("heat", FLOAT, ["n", planes, "h8", "w8"]),
            helper.make_tensor_value_info(corners, FLOAT, ["n", 8, "h8", "w8"]),
        ],
        [constant("level", 0.875), constant("gain", 8.0 + broken), constant("one", 1.0), constant("zero", 0.0),
         constant("quad", quad)],
        opset,
    )


def brightness(picture):
    """Nodes from `picture` to `bright`: 1 where its mean is above a half, else 0."""
    node = helper.make_node
    return [
        node("ReduceMean", [picture], ["mean"], axes=[2, 3], keepdims=1),
        node("Squeeze", ["mean", "last"], ["flat"]),
        node("Sub", ["flat", "half"], ["over"]),
        node("Mul", ["over", "steep"], ["far"]),
        node("Sigmoid", ["far"], ["bright"]),
    ]


def aligner(name, broken=0.0):
    """corners = centre + spread * brightness; `broken` is added to all."""
    node = helper.make_node
    nodes = [
        *brightness("window"),
        node("Mul", ["bright", "spread"], ["part"]),
        node("Add", ["part", "centre"], ["corners"]),
    ]
    # The window is 128x64: corners at 0.2 and 0.8 of it.
    spread = np.array([[-38.4, -19.2, 38.4, -19.2, 38.4, 19.2, -38.4, 19.2]], np.float32)
    save(
        name,
        nodes,
        [helper.make_tensor_value_info("window", FLOAT, ["n", 1, 64, 128])],
        [helper.make_tensor_value_info("corners", FLOAT, ["n", 8])],
        [constant("half", 0.5), constant("steep", 100.0), constant("spread", spread), constant("centre", [[64 + broken, 32 + broken] * 4]),
         numpy_helper.from_array(np.array([2, 3]), "last")],
    )


def reader(name, broken=0.0):
    """Columns: digit, blank, 'A'; the digit by the plate's mean brightness. `broken` is added to the states."""
    node = helper.make_node
    rows = np.zeros((2, 1, 3, 37), np.float32)
    rows[0, 0, 0, 1] = rows[1, 0, 0, 2] = 0.9  # '0' and '1'
    rows[:, 0, 0, 0] = 0.1
    rows[:, 0, 1, 0] = 1.0
    rows[:, 0, 2, 11] = 0.8  # 'A'
    rows[:, 0, 2, 12] = 0.2  # 'B'
    nodes = [
        *brightness("plate"),
        node("Mul", ["bright", "change"], ["part"]),
        node("Add", ["part", "dark"], ["characters"]),
        node("Squeeze", ["bright", "one"], ["row"]),
        node("Mul", ["row", "zero"], ["nothing"]),
        node("Add", ["nothing", "states"], ["state"]),
    ]
    save(
        name,
        nodes,
        [helper.make_tensor_value_info("plate", FLOAT, ["n", 1, 64, 160])],
        [
            helper.make_tensor_value_info("characters", FLOAT, ["n", 3, 37]),
            helper.make_tensor_value_info("state", FLOAT, ["n", 2]),
        ],
        [
            numpy_helper.from_array(np.array([3], np.int64), "last"),
            numpy_helper.from_array(np.array([2], np.int64), "one"),
            constant("half", 0.5), constant("steep", 1000.0), constant("zero", 0.0),
            constant("change", rows[1] - rows[0]), constant("dark", rows[0]), constant("states", [[0.75 + broken, 0.25]]),
        ],
    )


if __name__ == "__main__":
    detector("toy-detector")
    detector("nan-detector", np.nan)
    detector("wide-detector", planes=2)
    detector("lost-detector", corners="points")
    detector("future-detector", opset=99)
    aligner("toy-aligner")
    aligner("nan-aligner", np.nan)
    reader("toy-reader")
    reader("nan-reader", np.nan)
