"""How far the smaller files are from the FP32 ones, on the golden pictures and on rendered plates and scenes.

    python -m models.evaluate.parity

The FP32 files themselves are compared with PyTorch when they are exported (models.export.to_onnx).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from ..data.align import corner_error, detected, from_window, window
from ..data.read import decode_greedy, rendered
from ..render.scene import draw_scene
from .detections import decode, iou, letterbox
from .golden import load_golden
from .read_photos import HERE, Models


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--count", type=int, default=300, help="rendered plates; a third as many scenes")
    parser.add_argument("--seed", type=int, default=77)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(options.seed)
    golden, golden_scenes = load_golden(options.models / "golden")
    plates = [(grey, entry["text"]) for grey, entry in golden]
    plates += [(plate, text) for plate, text, _ in (rendered(rng) for _ in range(options.count)) if text]
    scenes = [grey for grey, _ in golden_scenes]
    drawn = [draw_scene(rng, 640, 384) for _ in range(options.count // 3)]
    scenes += [scene.luma for scene in drawn]
    windows = [(scene.luma, detected(rng, plate.corners), plate.corners) for scene in drawn for plate in scene.plates]
    print("| precision | golden texts right | texts as FP32 | rendered texts right | states as FP32 | plates found, FP32's also found | corner error |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    first = None
    for precision in ("fp32", "fp16", "int8"):
        models = Models(options.models, precision)
        texts, states = [], []
        for plate, _ in plates:
            characters, state = models.reader.run(None, {"plate": plate[None, None].astype(np.float32) / 255})
            texts.append(decode_greedy(characters[0])[0])
            states.append(int(state[0].argmax()))
        boxes = []
        for luma in scenes:
            heat, corners = models.detector.run(None, {"luma": letterbox(luma)[0][None, None]})
            boxes.append([d.box for d in decode(heat[0, 0], corners[0], 0.45)])
        errors = []
        for luma, quad, true in windows:
            out = models.aligner.run(None, {"window": window(luma, quad)[None, None].astype(np.float32) / 255})[0]
            errors.append(corner_error(from_window(quad, out[0].reshape(4, 2)), true))
        first = first or (texts, states, boxes)
        count = len(golden)
        right = [text == wanted for text, (_, wanted) in zip(texts, plates)]
        also = [any(iou(a, b) >= 0.5 for b in mine) for theirs, mine in zip(first[2], boxes) for a in theirs]
        print(f"| {precision} | {sum(right[:count])}/{count} | {np.mean([a == b for a, b in zip(texts, first[0])]):.3f} "
              f"| {np.mean(right[count:]):.3f} | {np.mean([a == b for a, b in zip(states, first[1])]):.3f} "
              f"| {sum(map(len, boxes))}, {np.mean(also):.3f} | {np.median(errors):.3f} |")


if __name__ == "__main__":
    main()
