"""Mine what the detector takes for a plate though it is none, so that the reader learns to say nothing.

    python -m models.data.negatives --data ../shared/data --out build/negatives.npz

Looks only at training photos whose plates are all labelled; the file holds `crops` uint8 [n, 64, 160].
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from ..evaluate.detections import iou
from ..evaluate.read_photos import Models
from .read import rectify
from .sources import load_photos

#: A score at which the detector takes a lot for a plate.
LOW = 0.12


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=LOW, help="least score: lower than the appliance's, for more of them")
    parser.add_argument("--seed", type=int, default=50)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    models, rng, crops = Models(), np.random.default_rng(options.seed), []
    for photo in load_photos(options.data, False):
        if not photo.complete:
            continue
        far = lambda box: all(iou(box, other) < 0.02 for other in photo.boxes)
        found = models.detect(photo.grey, options.threshold, widths=(640,))
        quads = [d.quad for d in found if far(d.box)]
        # A long text that the reader is sure of is most likely a plate that was left out of the labels.
        crops += [rectify(photo.grey, quad) for quad, (text, confidence, *_) in zip(quads, models.read(photo.grey, quads))
                  if len(text) < 5 or confidence < 0.9]
        # And one piece of it at random, of a plate's shape.
        height, width = photo.grey.shape
        w = float(np.exp(rng.uniform(np.log(40), np.log(width / 2))))
        x, y = rng.uniform(0, width - w), rng.uniform(0, max(1.0, height - w / 2))
        if far((x, y, x + w, y + w / 2)):
            quad = np.array([[x, y], [x + w, y], [x + w, y + w / 2], [x, y + w / 2]], np.float32)
            crops.append(rectify(photo.grey, quad))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out, crops=np.stack(crops))
    print(f"{len(crops)} crops without a plate")


if __name__ == "__main__":
    main()
