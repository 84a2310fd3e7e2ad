"""A small rendered set with known answers, always the same: what CI scores the shipped models on.

    python -m models.evaluate.fixed_set --out .cache/fixed-set

Road scenes with plates from 60 px wide, by day and under the lamp, and lettering without a plate. Rendered
plates are easier than a road's, so the figures say whether something broke, not how good the models are.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from ..render.lettering import lettering
from ..render.scene import draw_scene

SCENES, NOTHING, SEED = 240, 80, 4711
#: Least width of a plate that counts, in pixels.
LEAST = 60.0


def scenes(folder: Path) -> None:
    """1280x720 scenes with labels.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(SCENES):
        scene = draw_scene(np.random.default_rng([SEED, index]), 1280, 720, night=index % 2 == 1)
        name = f"{index:03d}.png"
        counts = lambda plate: np.ptp(plate.corners[:, 0]) >= LEAST
        if not any(map(counts, scene.plates)):
            continue
        cv2.imwrite(str(folder / name), scene.luma)
        for plate in scene.plates:
            (x1, y1), (x2, y2) = plate.corners.min(0), plate.corners.max(0)
            corners = " ".join(f"{v:.1f}" for v in plate.corners.ravel())
            rows.append([name, 1280, 720, f"{x1:.1f}", f"{y1:.1f}", f"{x2:.1f}", f"{y2:.1f}", corners, plate.text, plate.state, "" if counts(plate) else "ignore"])
    with open(folder / "labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow("image,width,height,x1,y1,x2,y2,corners,text,state,note".split(","))
        writer.writerows(rows)


def nothing(folder: Path) -> None:
    """Pictures that show words and no plate."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(NOTHING):
        luma, _ = lettering(np.random.default_rng([SEED, 1, index]))
        cv2.imwrite(str(folder / f"{index:03d}.png"), luma)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    scenes(options.out / "rendered-scenes")
    nothing(options.out / "rendered-nothing")


if __name__ == "__main__":
    main()
