"""Smaller numbers: INT8 (static, calibrated) for CPU boards and FP16 for GPUs, from the exported FP32 files.

    python -m models.export.quantize --data ../shared/data

INT8: weights by channel, activations by the extremes that calibration inputs show, in QDQ form, which ONNX
Runtime and TensorRT both take. Calibration inputs are training photos and rendered plates. The first and the
last layers, and all that is before and after them, stay in float: an input's level, corners in pixels and scores
need more than 8 bits. FP16 keeps float32 at its inputs and outputs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from ..data.align import window
from ..data.detect import box_quad
from ..data.read import rectify, rendered
from ..data.sources import Crop, Photo, load_crops, load_photos
from ..evaluate.detections import letterbox
from .to_onnx import HERE, write_manifest

#: Layers by kind that stay in float32, by the start of their weights' names.
FLOAT_LAYERS = {"detector": ("net.heat", "net.corners", "net.s4.0"), "aligner": ("heat", "s4.0"),
                "reader": ("net.characters", "net.state", "net.fine.0")}


class Inputs(CalibrationDataReader):
    """A list of inputs, one at a time."""

    def __init__(self, name: str, inputs: list[np.ndarray]):
        self.left = iter([{name: one} for one in inputs])

    def get_next(self):
        return next(self.left, None)


def calibration_inputs(kind: str, photos: list[Photo], crops: list[Crop], count: int, seed: int) -> list[np.ndarray]:
    """Inputs [1, 1, h, w] as the network gets them, from training photos and rendered plates."""
    rng = np.random.default_rng(seed)
    photos = [photos[i] for i in rng.permutation(len(photos))[:count]]
    if kind == "detector":
        fixed = [letterbox(photo.grey, 640, 640)[0] for photo in photos]
        return [image[None, None] for image in fixed]
    if kind == "aligner":
        pieces = [window(photo.grey, box_quad(photo.plates[0].box)) for photo in photos]
    else:
        pieces = [rectify(photo.grey, box_quad(photo.plates[0].box)) for photo in photos[: count // 3]]
        pieces += [rendered(rng)[0] for _ in range(count // 3)]
        pieces += [cv2.resize(crops[i].grey, (160, 64), interpolation=cv2.INTER_AREA) for i in rng.permutation(len(crops))[: count // 3]]
    return [piece[None, None].astype(np.float32) / 255 for piece in pieces]


def int8(kind: str, source: Path, target: Path, inputs: list[np.ndarray]) -> None:
    """Write the INT8 file."""
    model = onnx.load(str(source))
    weights = {i.name for i in model.graph.initializer}
    layers = [i for i, node in enumerate(model.graph.node) if node.op_type == "Conv"]
    # What levels the input stands before the first layer, and what makes corners of heat after the last.
    inside = range(layers[0], layers[-1] + 1)
    kept = [node.name for i, node in enumerate(model.graph.node)
            if i not in inside or node.op_type not in ("Conv", "Gemm", "MatMul", "Add", "Relu", "Concat")
            or any(name in weights and name.startswith(FLOAT_LAYERS[kind]) for name in node.input)]
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.onnx"
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        quantize_static(str(ready), str(target), Inputs(model.graph.input[0].name, inputs),
                        quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
                        calibrate_method=CalibrationMethod.MinMax, nodes_to_exclude=kept)
    finish(source, target, "int8")


def fp16(source: Path, target: Path) -> None:
    """Write the FP16 file."""
    model = OnnxModel(convert_float_to_float16(onnx.load(str(source)), keep_io_types=True))
    model.topological_sort()  # the converter puts its casts at the end
    onnx.save(model.model, str(target))
    finish(source, target, "fp16")


def finish(source: Path, target: Path, precision: str) -> None:
    """Carry over what the FP32 file says of itself."""
    model, before = onnx.load(str(target)), onnx.load(str(source))
    metadata = {p.key: p.value for p in before.metadata_props} | {"precision": precision}
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--folder", type=Path, default=HERE)
    parser.add_argument("--count", type=int, default=240, help="calibration inputs")
    parser.add_argument("--seed", type=int, default=80)
    parser.add_argument("--kinds", nargs="+", default=["detector", "aligner", "reader"])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    # Never evaluate/: what the ranges are fitted on is trained on.
    photos, crops = load_photos(options.data, False, 3 * options.count), load_crops(options.data, False, 3000)
    for kind in options.kinds:
        source = options.folder / f"{kind}.onnx"
        version = next(p.value for p in onnx.load(str(source)).metadata_props if p.key == "version")
        for precision in ("int8", "fp16"):
            target = options.folder / f"{kind}.{precision}.onnx"
            if precision == "int8":
                int8(kind, source, target, calibration_inputs(kind, photos, crops, options.count, options.seed))
            else:
                fp16(source, target)
            write_manifest(options.folder, kind, target.name, version, precision)
            print(f"{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
