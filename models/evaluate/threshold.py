"""Recall and false detections of the detector over thresholds, on held-out training photos.

    python -m models.evaluate.threshold --data ../shared/data

A detection without a box may still be a small plate that nobody labelled, so `false` is an upper bound.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..data.sources import load_photos
from .detections import iou, matched
from .read_photos import HERE, Models

#: Widths that are counted apart: px where a photo is 640 wide. The last are plates of 40 to 60 px in a frame of 1920x1080.
BANDS = {"plates from 28 px": (28.0, np.inf), "from 14 px": (14.0, np.inf), "13.3 to 20 px": (40 / 3, 20.0)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--width", type=int, default=640)
    options = parser.parse_args()
    models = Models(options.models)
    photos = load_photos(options.data, True)
    found = [models.detect(photo.grey, 0.1, widths=(options.width,)) for photo in photos]
    print(f"| threshold | recall, {' | '.join(BANDS)} | false a photo | mean IoU |\n| ---:" + " | ---:" * (len(BANDS) + 2) + " |")
    for threshold in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6):
        hits, total, false, overlaps = np.zeros(len(BANDS)), np.zeros(len(BANDS)), 0, []
        for photo, detections in zip(photos, found):
            kept = [d for d in detections if d.score >= threshold]
            scale = 640 / photo.grey.shape[1]
            for plate in photo.plates:
                wide = (plate.box[2] - plate.box[0]) * scale
                best = max([iou(plate.box, d.box) for d in kept], default=0.0)
                if best >= 0.5:
                    overlaps.append(best)
                inside = [least <= wide < most for least, most in BANDS.values()]
                total += inside
                hits += np.array(inside) & (best >= 0.5)
            false += sum(not any(matched(plate, d.box, 0.3) for plate in photo.boxes) for d in kept)
        recall = " | ".join(f"{h / t:.3f} ({int(t)})" for h, t in zip(hits, total))
        print(f"| {threshold} | {recall} | {false / len(photos):.2f} | {np.mean(overlaps) if overlaps else 0:.3f} |")


if __name__ == "__main__":
    main()
