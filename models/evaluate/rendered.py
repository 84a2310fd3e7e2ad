"""The models on freshly rendered scenes, where corners and texts are known exactly.

    python -m models.evaluate.rendered --count 150 --seed 991

Scenes are 1280x720; the detector sees them 640 wide, the reader cuts its plate from the full picture.
Only plates at least `--least` pixels wide in the full picture count. Prints recall, the corner error as a
share of the plate's height, and exact texts with the detector's corners and with the true ones.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from ..render.scene import draw_scene
from .detections import iou
from .read_photos import Models
from .outcome import fold


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=991)
    parser.add_argument("--least", type=float, default=90.0, help="least plate width in pixels of the scene")
    parser.add_argument("--threshold", type=float, default=0.4)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    models, rng = Models(), np.random.default_rng(options.seed)
    total = hits = exact = exact_folded = ideal = ideal_folded = false = 0
    errors = []
    for index in range(options.count):
        scene = draw_scene(rng, 1280, 720, night=index % 2 == 1)
        found = models.detect(scene.luma, options.threshold, widths=(640,))
        boxes = [np.array([*p.corners.min(0), *p.corners.max(0)]) for p in scene.plates]
        false += sum(not any(iou(b, d.box) > 0.3 for b in boxes) for d in found)
        for plate, box in zip(scene.plates, boxes):
            if box[2] - box[0] < options.least:
                continue
            total += 1
            text = models.read(scene.luma, [plate.corners])[0][0]
            ideal += text == plate.text
            ideal_folded += fold(text) == fold(plate.text)
            match = max(found, key=lambda d: iou(box, d.box), default=None)
            if match is None or iou(box, match.box) < 0.5:
                continue
            hits += 1
            height = np.linalg.norm(plate.corners[3] - plate.corners[0])
            errors.append(np.linalg.norm(match.quad - plate.corners, axis=1).mean() / height)
            text = models.read(scene.luma, [match.quad])[0][0]
            exact += text == plate.text
            exact_folded += fold(text) == fold(plate.text)
    print(f"{total} plates of at least {options.least:.0f} px in {options.count} scenes: found {hits / total:.3f}, false "
          f"{false / options.count:.2f} a scene, median corner error {np.median(errors):.3f} of the height; of all plates "
          f"read exactly {exact / total:.3f} (folded {exact_folded / total:.3f}); with true corners {ideal / total:.3f} "
          f"(folded {ideal_folded / total:.3f})")


if __name__ == "__main__":
    main()
