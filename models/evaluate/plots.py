"""The plots of the cards, from held-out training photos and crops with the shipped files.

    python -m models.evaluate.plots --data ../shared/data

Writes models/plots/detector.png (share of detections on a labelled plate by score; plates that nobody labelled
count as wrong), aligner.png (corner error before and after) and reader.png (share of right texts by confidence).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from ..data.align import corner_error
from ..data.read import decode_greedy, photographed
from ..data.sources import load_crops, load_photos
from .detections import matched
from .outcome import fold
from .read_photos import HERE, Models
from .report import reliability


def detector(models: Models, photos):
    """Reliability of the detector's score at 640 pixels."""
    score, right = [], []
    for photo in photos:
        for found in models.detect(photo.grey, 0.1, widths=(640,)):
            score.append(found.score)
            right.append(any(matched(plate.box, found.box) for plate in photo.plates))
    return reliability(np.array(score), np.array(right, float), "detector, held-out photos", "score")


def aligner(models: Models, photos):
    """Cumulative corner error of labelled polygons, by the detector alone and aligned."""
    errors: dict[str, list[float]] = {"detector": [], "aligned": []}
    second = models.aligner
    for name in errors:
        models.aligner = second if name == "aligned" else None
        for photo in photos:
            quads = [plate for plate in photo.plates if plate.quad is not None]
            for found in models.detect(photo.grey, 0.3) if quads else []:
                true = [plate.quad for plate in quads if matched(plate.box, found.box, 0.4)]
                errors[name] += [corner_error(found.quad, quad) for quad in true[:1]]
    models.aligner = second
    figure, axes = plt.subplots(figsize=(4, 4))
    for name, values in errors.items():
        axes.plot(sorted(values), np.linspace(0, 1, len(values)), label=f"{name}, median {np.median(values):.3f}")
    axes.set(xlim=(0, 0.5), ylim=(0, 1), xlabel="corner error, share of the plate's height", ylabel="share of plates", title="aligner, held-out photos")
    axes.legend(loc="lower right")
    return figure


def reader(models: Models, crops):
    """Reliability of the text's confidence on crops as a camera would see them."""
    rng, confidence, right = np.random.default_rng(123), [], []
    for crop in crops:
        plate = photographed(rng, crop.grey)
        characters, _ = models.reader.run(None, {"plate": plate[None, None].astype(np.float32) / 255})
        text, sure = decode_greedy(characters[0])
        if text:
            confidence.append(sure)
            right.append(fold(text) == fold(crop.text))
    return reliability(np.array(confidence), np.array(right, float), "reader, held-out crops, degraded")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--out", type=Path, default=HERE / "plots")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    models, photos = Models(options.models), load_photos(options.data, True)
    options.out.mkdir(parents=True, exist_ok=True)
    crops = [crop for crop in load_crops(options.data, True) if crop.text]
    for name, figure in (("detector", detector(models, photos)), ("aligner", aligner(models, photos)), ("reader", reader(models, crops))):
        figure.savefig(options.out / f"{name}.png", dpi=90, bbox_inches="tight")
        plt.close(figure)


if __name__ == "__main__":
    main()
