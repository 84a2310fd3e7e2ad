"""Read plates in photos with the ONNX files, in the form that `milepost read --json` prints.

    python -m models.evaluate.read_photos --out us-scenes.jsonl ../shared/data/evaluate/us-scenes

A check of the models alone, independent of the appliance's code. A photo is looked at 640 pixels
wide; where nothing is found there, again at 320 and, for small pictures, framed at 256 (a crop that is
nearly all plate shows it far larger than any camera would).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from ..data.align import LOOKS, SETTLED, corner_error, from_window, likely, window
from ..data.read import decode_greedy, rectify
from .detections import Detection, decode, letterbox

HERE = Path(__file__).resolve().parent.parent


class Models:
    """The sessions of a precision, one thread each. A folder without an aligner gives the detector's own corners."""

    def __init__(self, folder: Path = HERE, precision: str = "fp32"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = lambda kind: folder / (f"{kind}.onnx" if precision == "fp32" else f"{kind}.{precision}.onnx")
        load = lambda kind: onnxruntime.InferenceSession(str(path(kind)), options, providers=["CPUExecutionProvider"])
        self.detector, self.reader = load("detector"), load("reader")
        self.aligner = load("aligner") if path("aligner").exists() else None
        self.states = self.reader.get_modelmeta().custom_metadata_map["states"].split(",")

    def detect(self, grey: np.ndarray, threshold: float, widths=(640, 320)) -> list[Detection]:
        """Detections in pixels of the photo [h, w] uint8, best first."""
        attempts = [(grey, width, 0) for width in widths]
        if grey.shape[1] <= 480:  # a cut-out: give it surroundings
            edge = int(grey.shape[1] * 0.25)
            framed = cv2.copyMakeBorder(grey, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=90)
            attempts = [(framed, 256, edge)] + attempts
        for picture, width, edge in attempts:
            image, scale = letterbox(picture, width)
            heat, corners = self.detector.run(None, {"luma": image[None, None]})
            found = decode(heat[0, 0], corners[0], threshold)
            if found:
                return [self.align(grey, Detection(d.score, d.quad / scale - edge, d.box / scale - edge)) for d in found]
        return []

    def align(self, grey: np.ndarray, detection: Detection) -> Detection:
        """The detection with the corners that further looks give; as it is where that is no likely plate."""
        quad = detection.quad.astype(np.float32)
        for _ in range(LOOKS if self.aligner else 0):
            corners = self.aligner.run(None, {"window": window(grey, quad).astype(np.float32)[None, None] / 255})[0]
            found = from_window(quad, corners[0].reshape(4, 2))
            if not likely(quad, found):
                break
            way, quad = corner_error(quad, found), found
            if way <= SETTLED:
                break
        return Detection(detection.score, quad, np.array([*quad.min(0), *quad.max(0)]))

    def read(self, grey: np.ndarray, quads: list[np.ndarray]):
        """(text, confidence, state, state confidence) for each corner quad."""
        if not quads:
            return []
        plates = np.stack([rectify(grey, quad) for quad in quads]).astype(np.float32)[:, None] / 255
        characters, states = self.reader.run(None, {"plate": plates})
        best = states.argmax(1)
        return [(*decode_greedy(c), self.states[b], float(s[b])) for c, s, b in zip(characters, states, best)]


def plates_of(models: Models, grey: np.ndarray, threshold: float, least: float) -> list[dict]:
    """All plates of a photo as `milepost read --json` gives them, best first."""
    found = models.detect(grey, threshold)
    plates = []
    for detection, (text, confidence, state, state_confidence) in zip(found, models.read(grey, [d.quad for d in found])):
        x1, y1, x2, y2 = (float(v) for v in detection.box)
        keep = confidence >= least and len(text) >= 2
        plates.append({"text": text if keep else "", "confidence": round(confidence, 4), "score": round(detection.score, 4),
                       "state": state, "state_confidence": round(state_confidence, 4),
                       "corners": [[round(float(v), 2) for v in p] for p in detection.quad],
                       "box": [round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)]})
    return sorted(plates, key=lambda p: -p["score"] * (0.2 + p["confidence"]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--threshold", type=float, default=0.3, help="least detection score")
    parser.add_argument("--least", type=float, default=0.3, help="least confidence of a text")
    options = parser.parse_args()
    models = Models(options.models)
    with open(options.out, "w") as file:
        for path in sorted(options.folder.iterdir()):
            if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
                continue
            grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            file.write(json.dumps({"file": path.name, "plates": plates_of(models, grey, options.threshold, options.least)}) + "\n")


if __name__ == "__main__":
    main()
