"""Write a checkpoint as ONNX with the contract that the appliance is written against.

    python -m models.export.to_onnx detector --checkpoint build/detector/last.pt --version 1.0.0
    python -m models.export.to_onnx aligner  --checkpoint build/aligner/last.pt  --version 1.0.0
    python -m models.export.to_onnx reader   --checkpoint build/reader/last.pt   --version 1.0.0

Without --checkpoint the network is exported untrained, to try the plumbing. The result is compared
with PyTorch on several shapes and on the golden pictures that lie here, and `manifest.toml` beside it gets the file's sha256.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn as nn
import torch.nn.functional as F

from ..data.align import window
from ..data.sources import STATES
from ..evaluate.golden import load_golden
from ..train.fold import folded
from ..train.nets import Aligner, Detector, Reader

HERE = Path(__file__).resolve().parent.parent


class DetectorGraph(nn.Module):
    """Detector with sigmoid and 3x3 peak suppression inside."""

    def __init__(self, net: Detector):
        super().__init__()
        self.net = net

    def forward(self, luma):
        logits, corners = self.net(luma)
        heat = torch.sigmoid(logits)
        peak = F.max_pool2d(heat, 3, 1, 1)
        return torch.where(heat >= peak, heat, torch.zeros_like(heat)), corners


class ReaderGraph(nn.Module):
    """Reader with calibrated softmax inside; temperatures are part of the checkpoint's notes."""

    def __init__(self, net: Reader, characters: float, state: float):
        super().__init__()
        self.net, self.temperature, self.state_temperature = net, characters, state

    def forward(self, plate):
        characters, state = self.net(plate)
        return torch.softmax(characters / self.temperature, 2), torch.softmax(state / self.state_temperature, 1)


@dataclass(frozen=True)
class Kind:
    """What sets one network's file apart from another's."""

    net: Callable[[], nn.Module]
    #: (folded network, the checkpoint's notes) -> what is exported.
    graph: Callable[[nn.Module, dict], nn.Module]
    input: str
    outputs: tuple[str, ...]
    #: Shapes to compare with PyTorch on; two pictures of the last are the example of the export.
    shapes: tuple[tuple[int, ...], ...]
    #: Sizes of the input, beside the batch, that stay open.
    sizes: Callable[[], dict]
    convention: str
    sources: str


def _detector_sizes() -> dict:
    return {2: 32 * torch.export.Dim("rows32", min=2, max=128), 3: 32 * torch.export.Dim("columns32", min=2, max=128)}


def _batches(height: int, width: int) -> tuple[tuple[int, ...], ...]:
    return tuple((n, 1, height, width) for n in (1, 3, 8))


KINDS = {
    "detector": Kind(
        Detector, lambda net, _: DetectorGraph(net), "luma", ("heat", "corners"),
        ((1, 1, 384, 640), (2, 1, 96, 128), (1, 1, 736, 1280), (1, 1, 160, 224)), _detector_sizes,
        "luma float32 [N,1,H,W] 0..1, H and W multiples of 32; heat [N,1,H/8,W/8] is a score with non-peaks 0; corners "
        "[N,8,H/8,W/8] x0,y0..x3,y3 in input pixels relative to the cell centre ((x+0.5)*8,(y+0.5)*8), clockwise from the "
        "plate's own top left",
        "Open Images plates (photos CC BY 2.0, boxes CC BY 4.0); dashcam rides of Romania (MIT); plate polygons (Apache-2.0); US "
        "state plate crops (MIT); rendered scenes of this repository"),
    "aligner": Kind(
        Aligner, lambda net, _: net, "window", ("corners",), _batches(64, 128), dict,
        "window float32 [N,1,64,128] 0..1 luma, rectified by the detector's corners with a margin of 20% of the plate's width left "
        "and right and 30% of its height above and below; corners [N,8] x0,y0..x3,y3 in window pixels, clockwise from the plate's "
        "own top left",
        "plate polygons (Apache-2.0); US state plate crops (MIT) and rendered plates of this repository, pasted into Open Images "
        "photos (CC BY 2.0), dashcam rides of Romania (MIT) and plate polygons"),
    "reader": Kind(
        lambda: Reader(len(STATES)), lambda net, notes: ReaderGraph(net, *notes.get("temperature", (1.0, 1.0))),
        "plate", ("characters", "state"), _batches(64, 160), dict,
        "plate float32 [N,1,64,160] 0..1 luma, rectified with a margin of 6% of the plate's width left and right and 12% of its "
        "height above and below; characters [N,40,37] CTC probabilities, 0 blank, 1..10 digits, 11..36 A..Z; state [N,S] "
        "probabilities in the order of states.txt",
        "US state plate crops (MIT); plates of Open Images photos (CC BY 2.0), dashcam rides of Romania (MIT) and plate polygons "
        "(Apache-2.0); rendered plates of this repository"),
}


def build(kind: Kind, checkpoint: Path | None) -> tuple[nn.Module, dict]:
    """Graph module in evaluation mode and the checkpoint's notes."""
    net = kind.net()
    notes: dict = {}
    if checkpoint:
        state = torch.load(checkpoint, map_location="cpu", weights_only=False)
        net.load_state_dict(state["average"])
        notes = dict(state["notes"], samples=state["samples"], minutes=round(state["spent_s"] / 60, 1))
    return kind.graph(folded(net), notes).eval(), notes


def export(kind: Kind, graph: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Export with dynamic shapes and write the metadata."""
    shapes = ({0: torch.export.Dim("batch", min=1, max=256)} | kind.sizes(),)
    torch.onnx.export(graph, (torch.rand(2, *kind.shapes[-1][1:]),), str(path), input_names=[kind.input], output_names=list(kind.outputs),
                      dynamic_shapes=shapes, opset_version=18, dynamo=True, external_data=False, verbose=False)
    model = onnx.load(str(path))
    for key in list(model.metadata_props):
        model.metadata_props.remove(key)
    onnx.helper.set_model_props(model, metadata)
    for node in model.graph.node:  # the exporter's notes name source files of the machine it ran on
        del node.metadata_props[:]
        node.doc_string = ""
    for value in list(model.graph.input) + list(model.graph.output) + list(model.graph.value_info):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.functions[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def golden_inputs(kind: str) -> torch.Tensor:
    """The golden pictures that lie here as the network takes them, float32 [N,1,h,w] in 0..1."""
    plates, scenes = load_golden(HERE / "golden")
    if kind == "aligner":
        seen = [window(grey, np.float32(plate["corners"])) for grey, scene in scenes for plate in scene["plates"]]
    else:
        seen = [grey for grey, _ in (plates if kind == "reader" else scenes)]
    return torch.from_numpy(np.stack(seen)[:, None]).float() / 255


def apart(name: str, wanted: np.ndarray, got: np.ndarray) -> float:
    """Largest difference of an output. Of the heat: of the highest score, and where both have a peak, as one that a tie suppressed
    on one side only is no difference."""
    if name != "heat":
        return float(np.abs(wanted - got).max())
    return float(np.max([np.abs((wanted - got) * (wanted != 0) * (got != 0)).max(), abs(wanted.max() - got.max())]))


def compare(kind: Kind, graph: nn.Module, path: Path, golden: torch.Tensor) -> float:
    """Largest difference between PyTorch and ONNX Runtime over several shapes and the golden pictures; NaN where either gives one."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = []
    for x in [*(torch.rand(shape) for shape in kind.shapes), golden]:
        with torch.no_grad():
            wanted = graph(x)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        got = session.run(None, {kind.input: x.numpy()})
        worst += [apart(name, w.numpy(), g) for name, w, g in zip(kind.outputs, wanted, got)]
    return float(np.max(worst))


def write_manifest(folder: Path, kind: str, file: str, version: str, precision: str = "fp32") -> None:
    """Replace this file's entry in manifest.toml."""
    path = folder / "manifest.toml"
    text = path.read_text() if path.exists() else ""
    entries = [e for e in re.split(r"(?=\[\[model\]\])", text) if e.startswith("[[model]]") and f'file = "{file}"' not in e]
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    entries.append(f'[[model]]\nfile = "{file}"\nsha256 = "{digest}"\nkind = "{kind}"\nprecision = "{precision}"\nversion = "{version}"')
    path.write_text("# Written by models.export.\n\n" + "\n\n".join(sorted(e.strip() for e in entries)) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--folder", type=Path, default=HERE)
    parser.add_argument("--version", default="0.0.0")
    parser.add_argument("--threshold", type=float, help="detector: least score to use (models.evaluate.threshold)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kind = KINDS[options.kind]
    graph, notes = build(kind, options.checkpoint)
    file = f"{options.kind}.onnx"
    metadata = {"name": f"milepost-{options.kind}", "version": options.version,
                "trained": str(date.today()) if options.checkpoint else "untrained",
                "data": kind.sources, "input": kind.convention,
                "license": "Apache-2.0"}
    metadata |= {key: str(value) for key, value in notes.items() if key in ("held_out", "samples", "minutes", "temperature")}
    if options.threshold:
        metadata["threshold"] = str(options.threshold)
    if options.kind == "reader":
        metadata["states"] = ",".join(STATES)
        (options.folder / "states.txt").write_text("\n".join(STATES) + "\n")
    export(kind, graph, options.folder / file, metadata)
    write_manifest(options.folder, options.kind, file, options.version)
    print(f"{file}: {(options.folder / file).stat().st_size} bytes, differs from PyTorch by at most "
          f"{compare(kind, graph, options.folder / file, golden_inputs(options.kind)):.2e}")


if __name__ == "__main__":
    main()
